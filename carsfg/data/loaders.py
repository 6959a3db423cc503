"""Loaders of batches: from memory-mapped crops by worker processes, or from images in the memory of a device."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from carsfg.data.batches import Batch, CropSamples, FeatureSamples, as_it_is
from carsfg.data.crop_cache import CropCache
from carsfg.data.gpu_loader import ResidentLoader, fits, upload
from carsfg.data.sampler import EpochSampler
from carsfg.hardware import check_memory

Loader = DataLoader[Batch] | ResidentLoader
MAX_DEFAULT_WORKERS = 8


class LateLoader(DataLoader[Batch]):
    """A DataLoader that asks its sampler when the first batch is fetched, and not when the iterator is made.

    Lightning makes the iterator before it knows the epoch and the batch that a run is resumed at, and the workers of a
    DataLoader would prefetch at once.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        yield from super().__iter__()


class LoaderFactory:
    """Makes the loaders of a run.

    Args:
        batch_size: images per process and step.
        num_workers: loader processes; by default none on a CPU, up to 8 with a GPU.
        on_device: keep all images in the memory of the device; `auto`: if a GPU has twice the needed memory free.
    """

    def __init__(self, batch_size: int, num_workers: int | None, on_device: bool | Literal["auto"]) -> None:
        self.batch_size, self.num_workers, self.on_device = batch_size, num_workers, on_device
        self._device: torch.device | None = None
        self._images: dict[tuple[Path, ...], Tensor | None] = {}  # by the caches that they are copied from

    def make(
        self,
        samples: CropSamples | FeatureSamples,
        sampler: EpochSampler,
        device: torch.device,
        drop_last: bool = False,
        may_stay: bool = True,
    ) -> Loader:
        """Make a loader.

        Args:
            samples: crops or features of a split.
            sampler: order of the images.
            device: CPU or GPU that this process trains on.
            drop_last: leave out an incomplete last batch.
            may_stay: whether images may be kept on the device.
        """
        if isinstance(samples, CropSamples) and may_stay:
            images = self._resident(samples.caches, device)
            if images is not None:
                return ResidentLoader(images, samples, self.batch_size, sampler, drop_last)
        workers = self._workers(device) if isinstance(samples, CropSamples) else 0
        return LateLoader(
            samples,
            batch_size=self.batch_size,  # by name: Lightning rebuilds loaders for predict
            sampler=sampler,
            collate_fn=as_it_is,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # otherwise iterators draw from torch's random state, and a resume differs
        )

    def _resident(self, caches: Sequence[CropCache], device: torch.device) -> Tensor | None:
        """Return all images on a device, or None; a second `fits` would count them as used memory."""
        if self._device != device:
            self._images, self._device = {}, device
        key = tuple(cache.path for cache in caches)
        if self._images.get(key) is None:
            there = sum(images.nbytes for images in self._images.values() if images is not None)
            wanted = self.on_device
            if wanted == "auto":
                wanted = device.type == "cuda" and fits(caches, device, there)
            if self.on_device is True:
                needed = sum(cache.images.nbytes for cache in caches)
                check_memory("data.on_device true:", needed, "use data.on_device false", device)
            self._images[key] = upload(caches, device) if wanted else None
        return self._images[key]

    def _workers(self, device: torch.device) -> int:
        if self.num_workers is not None:
            return self.num_workers
        return min(MAX_DEFAULT_WORKERS, torch.get_num_threads()) if device.type == "cuda" else 0

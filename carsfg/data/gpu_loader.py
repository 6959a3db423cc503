"""A loader of images that are kept in the memory of a GPU: batches are cut and augmented there, without workers."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from carsfg.data.augmentation import Draws, apply_on_device
from carsfg.data.batches import Batch, CropSamples, split_keys
from carsfg.data.crop_cache import CropCache
from carsfg.data.sampler import EpochSampler

IMAGE_MEMORY_SHARE = 0.5  # of the device's free memory, at most


def upload(caches: Sequence[CropCache], device: torch.device) -> Tensor:
    """Copy all crops to a device, as uint8 (N, 3, S, S) in channels-last order.

    Args:
        caches: crop caches in the order in which they are pooled, all of one size S.
        device: GPU or CPU that receives all images.
    """
    count, size = sum(map(len, caches)), caches[0].images.shape[1]
    images = torch.empty((count, size, size, 3), dtype=torch.uint8, device=device)
    start = 0
    for cache in caches:
        for first in range(0, len(cache), 1024):
            part = np.array(cache.images[first : first + 1024])
            images[start + first : start + first + len(part)] = torch.from_numpy(part)
        start += len(cache)
    return images.permute(0, 3, 1, 2)


def fits(caches: Sequence[CropCache], device: torch.device, resident_bytes: int = 0) -> bool:
    """Return True if the crops take at most half of a GPU's free memory, with the images that are on it already.

    Args:
        caches: crop caches of all folders.
        device: GPU whose free memory is measured.
        resident_bytes: size of the images that are on it already.
    """
    free, _ = torch.cuda.mem_get_info(device)
    wanted = sum(cache.images.nbytes for cache in caches) + resident_bytes
    return wanted <= IMAGE_MEMORY_SHARE * (free + resident_bytes)


def draws_on(device: torch.device, draws: Draws) -> tuple[Tensor, Tensor | None]:
    """Copy the draws of an augmentation to a device; returns geometry (B, 2, 3) and colour (B, 3, 4) or None.

    Args:
        device: where the random numbers are needed.
        draws: draws for B images.
    """
    geometry = torch.from_numpy(draws.geometry).to(device, non_blocking=True)
    colour = None if draws.colour is None else torch.from_numpy(draws.colour).to(device, non_blocking=True)
    return geometry, colour


class ResidentLoader:
    """Batches of images in the memory of a device; every process of a distributed run loads its share.

    Args:
        images: uint8 (N, 3, S, S), all pooled crops on the device, from `upload`.
        samples: rows, labels and augmentation of the split.
        batch_size: images per batch.
        sampler: order of the images.
        drop_last: leave out an incomplete last batch.
    """

    def __init__(
        self, images: Tensor, samples: CropSamples, batch_size: int, sampler: EpochSampler, drop_last: bool = False
    ) -> None:
        self.images, self.dataset, self.batch_size = images, samples, batch_size
        self.sampler, self.drop_last = sampler, drop_last
        self.batch_sampler = None  # Lightning reads this attribute of everything that has a sampler
        self._rows = torch.from_numpy(samples.pooled_rows).to(images.device)
        self._labels = torch.from_numpy(samples.labels).to(images.device)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, order = split_keys(list(self.sampler))
        places = torch.from_numpy(order).to(self.images.device)
        augmented, size = self.dataset.is_augmented, self.dataset.size
        everything = draws_on(self.images.device, self.dataset.draws(epoch, order)) if augmented else None
        count = len(order) // self.batch_size * self.batch_size if self.drop_last else len(order)
        for start in range(0, count, self.batch_size):
            part = slice(start, start + self.batch_size)
            indices = places[part]
            images = self.images[self._rows[indices]]
            if everything is not None:
                geometry, colour = everything
                images = apply_on_device(images, geometry[part], None if colour is None else colour[part], size)
            yield {"image": images, "label": self._labels[indices], "index": indices}

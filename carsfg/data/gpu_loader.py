"""The whole data set in the device's memory: no workers, no copies, batches cut and augmented where they are used."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from carsfg.data.augmentation import Draws, apply_on_device
from carsfg.data.batches import Batch, CropSamples, unzip
from carsfg.data.crop_cache import CropCache
from carsfg.data.sampler import EpochSampler

SHARE = 0.5  # of the device's free memory that images may take


def upload(caches: Sequence[CropCache], device: torch.device) -> Tensor:
    """Copy all crops to a device, as uint8 (N, 3, S, S) in channels-last order.

    Args:
        caches: of the folders, in the order in which they are pooled; all of one size S.
        device: where to.
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


def fits(caches: Sequence[CropCache], device: torch.device) -> bool:
    """Whether the crops take no more than half of a GPU's free memory.

    Args:
        caches: of all folders.
        device: a GPU.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return sum(cache.images.nbytes for cache in caches) <= SHARE * free


def draws_on(device: torch.device, draws: Draws) -> tuple[Tensor, Tensor | None]:
    """Bring what was drawn to where the images are.

    Args:
        device: where the images are.
        draws: of B images.
    """
    geometry = torch.from_numpy(draws.geometry).to(device, non_blocking=True)
    colour = None if draws.colour is None else torch.from_numpy(draws.colour).to(device, non_blocking=True)
    return geometry, colour


class ResidentLoader:
    """Batches of images that lie in a device's memory; each process of a distributed run goes through its share.

    Args:
        images: uint8 (N, 3, S, S) of all pooled crops; see `upload`.
        samples: the split: which rows, labels, and augmentation.
        batch_size: images a batch.
        sampler: the order.
        drop_last: leave an incomplete last batch out.
    """

    def __init__(
        self, images: Tensor, samples: CropSamples, batch_size: int, sampler: EpochSampler, drop_last: bool = False
    ) -> None:
        self.images, self.dataset, self.batch_size = images, samples, batch_size
        self.sampler, self.drop_last = sampler, drop_last
        self.batch_sampler = None  # Lightning asks whatever has a sampler for this, too
        self._rows = torch.from_numpy(samples.pooled_rows).to(images.device)
        self._labels = torch.from_numpy(samples.labels).to(images.device)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, order = unzip(list(self.sampler))
        places = torch.from_numpy(order).to(self.images.device)
        recipe = self.dataset.recipe
        everything = draws_on(self.images.device, self.dataset.draws(epoch, order)) if recipe else None
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            part = slice(start, start + self.batch_size)
            indices = places[part]
            images = self.images[self._rows[indices]]
            if everything is not None:
                geometry, colour = everything
                images = apply_on_device(images, geometry[part], None if colour is None else colour[part])
            yield {"image": images, "label": self._labels[indices], "index": indices}

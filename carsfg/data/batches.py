"""Data sets that return whole batches of a split: of decoded crops, or of a frozen backbone's features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.augmentation import DRAWS, Draws, Recipe, apply_on_cpu, draw
from carsfg.data.box_jitter import SIDES, BoxJitter, within
from carsfg.data.crop_cache import CropCache
from carsfg.data.splits import Rows
from carsfg.seeding import derive_seed, global_seed

Batch = dict[str, Tensor]
Key = tuple[int, int]
"""(epoch, index), as `EpochSampler` yields them."""


class CropSamples(Dataset[Batch]):
    """Crops of a split; a batch is `image` (B, 3, S, S) uint8, `label` (B,) int64 and `index` (B,) int64.

    The augmentation of an image is drawn from the run's seed, the epoch and the index alone, so it depends neither on
    the worker that loads the image nor on the images loaded before.

    Args:
        caches: the decoded crops of all pooled images, in their order.
        labels: int64 (N,), of all pooled images.
        rows: int64 (M,), pooled rows of the split; copy c of row r is `c * N + r`.
        recipe: augmentation; None for none.
        stored: draw one augmentation per image and copy for all epochs and seeds, as if the copies were stored.
        jitter: moves the boxes; `caches` are then its wide ones. None: `caches` are shown as they are.
    """

    def __init__(
        self,
        caches: list[CropCache],
        labels: Rows,
        rows: Rows,
        recipe: Recipe | None = None,
        stored: bool = False,
        jitter: BoxJitter | None = None,
    ) -> None:
        self.caches, self.recipe, self.stored, self.jitter = caches, recipe, stored, jitter
        self.pooled_rows = rows % len(labels)
        # number of the draw that belongs to each image of the split
        self._draw_of = rows if stored else np.arange(len(rows))
        self.labels = labels[self.pooled_rows]
        self._uniform: tuple[int, npt.NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.pooled_rows)

    @property
    def is_augmented(self) -> bool:
        """Whether the images are resampled: by a recipe, or because their boxes move."""
        return self.recipe is not None or self.jitter is not None

    @property
    def size(self) -> int:
        """Side of the images of a batch in pixels."""
        return int(self.caches[0].images.shape[1]) if self.jitter is None else self.jitter.size

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        """Return one sample: `image` (3, S, S), `label`, `index`; a key without an epoch means epoch 0."""
        batch = self.__getitems__([key])
        return {name: values[0] for name, values in batch.items()}

    def __getitems__(self, keys: Sequence[int | Key]) -> Batch:
        """Return a whole batch; DataLoader calls this instead of `__getitem__` for each image."""
        epoch, indices = split_keys(keys)
        pixels = self.pixels(indices)
        if self.is_augmented:
            pixels = apply_on_cpu(pixels, self.draws(epoch, indices), self.size)
        return {"image": torch.from_numpy(pixels).permute(0, 3, 1, 2), **self.targets(indices)}

    def pixels(self, indices: Rows) -> npt.NDArray[np.uint8]:
        """Return crops uint8 (B, S, S, 3) without augmentation.

        Args:
            indices: int64 (B,), places in the split.
        """
        rows, start = self.pooled_rows[indices], 0
        pixels = np.empty((len(rows), *self.caches[0].images.shape[1:]), np.uint8)
        for cache in self.caches:
            chosen = (start <= rows) & (rows < start + len(cache))
            pixels[chosen] = cache.images[rows[chosen] - start]
            start += len(cache)
        return pixels

    def draws(self, epoch: int, indices: Rows) -> Draws:
        """Draw the augmentation of some images in an epoch.

        Args:
            epoch: number of the epoch, from 0; ignored if `stored` is set.
            indices: int64 (B,), places in the split.
        """
        epoch, seed = (0, 0) if self.stored else (epoch, global_seed())
        if self._uniform is None or self._uniform[0] != epoch:
            random = np.random.default_rng(derive_seed(seed, epoch))
            count = int(self._draw_of.max()) + 1
            # two tables, so that the recipe's draws are the same with and without jitter
            tables = [random.random((count, width), np.float32) for width in (DRAWS, SIDES)]
            self._uniform = epoch, np.concatenate(tables, 1)
        uniform = self._uniform[1][self._draw_of[indices]]
        drawn = draw(self.recipe or Recipe(), uniform[:, :DRAWS])
        if self.jitter is None:
            return drawn
        windows = self.jitter.windows(self.pooled_rows[indices], uniform[:, DRAWS:])
        return drawn._replace(geometry=within(drawn.geometry, windows))

    def targets(self, indices: Rows) -> Batch:
        """Return `label` and `index`, int64 (B,).

        Args:
            indices: int64 (B,), places in the split.
        """
        return {"label": torch.from_numpy(self.labels[indices]), "index": torch.from_numpy(indices)}


class FeatureSamples(Dataset[Batch]):
    """The same batches with the output of a frozen backbone, `feature` (B, D), instead of `image`.

    Args:
        features: float (N, D), of all pooled images.
        labels: int64 (N,), of all pooled images.
        rows: int64 (M,), pooled rows of the split; copy c of row r is `c * N + r`.
    """

    def __init__(self, features: Tensor, labels: Rows, rows: Rows) -> None:
        rows = rows % len(labels)
        self.features, self.labels, self.rows = features, labels[rows], torch.from_numpy(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[int | Key]) -> Batch:
        """Return a whole batch."""
        indices = torch.from_numpy(split_keys(keys)[1])
        labels = torch.from_numpy(self.labels)[indices]
        return {"feature": self.features[self.rows[indices]], "label": labels, "index": indices}


def split_keys(keys: Sequence[int | Key]) -> tuple[int, Rows]:
    """Split the keys of a batch into epoch and indices; keys without an epoch, of other samplers, mean epoch 0.

    Args:
        keys: (epoch, index) or index of each image; all of one epoch.
    """
    pairs = [key if isinstance(key, tuple) else (0, key) for key in keys]
    return pairs[0][0], np.array([index for _, index in pairs], np.int64)


def as_it_is(batch: Any) -> Any:
    """Return a batch as it is: `collate_fn` of data sets that return whole batches.

    Args:
        batch: result of `__getitems__`.
    """
    return batch

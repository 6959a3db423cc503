"""Batches of a split, cut from the decoded crops by whole batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.augmentation import DRAWS, Draws, Recipe, apply_on_cpu, draw
from carsfg.data.crop_cache import CropCache
from carsfg.data.splits import Rows
from carsfg.seeding import derive_seed, global_seed

Batch = dict[str, Tensor]
Key = tuple[int, int]
"""(epoch, index), as `EpochSampler` yields it."""


class CropSamples(Dataset[Batch]):
    """Rows of the decoded crops; whole batches of `image` (B, 3, S, S) uint8, `label` (B,) and `index` (B,).

    What happens to an image is drawn from run, epoch and index alone, so it depends neither on the worker that loads it
    nor on what was loaded before.

    Args:
        caches: the decoded crops of `cars_train` and `cars_test`.
        labels: int64 (N,) of both, pooled.
        rows: which of them belong to the split; copy c of row r stands as `c * N + r`.
        recipe: the augmentation, or None.
        stored: draw once and for all, as if augmented copies were stored, instead of anew every epoch.
    """

    def __init__(
        self, caches: list[CropCache], labels: Rows, rows: Rows, recipe: Recipe | None = None, stored: bool = False
    ) -> None:
        self.caches, self.recipe, self.stored = caches, recipe, stored
        self.pooled_rows = rows % len(labels)
        self._draw_of = rows if stored else np.arange(len(rows))  # which draw belongs to each image of the split
        self.labels = labels[self.pooled_rows]
        self._uniform: tuple[int, npt.NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.pooled_rows)

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        """Return one sample: `image` (3, S, S), `label` and `index`; an index alone means epoch 0."""
        batch = self.__getitems__([key])
        return {name: values[0] for name, values in batch.items()}

    def __getitems__(self, keys: Sequence[int | Key]) -> Batch:
        """Return a whole batch; the loader calls this once instead of `__getitem__` for each image."""
        epoch, indices = unzip(keys)
        pixels = self.pixels(indices)
        if self.recipe is not None:
            pixels = apply_on_cpu(pixels, self.draws(epoch, indices))
        return {"image": torch.from_numpy(pixels).permute(0, 3, 1, 2), **self.answers(indices)}

    def pixels(self, indices: Rows) -> npt.NDArray[np.uint8]:
        """Read uint8 (B, S, S, 3), not augmented.

        Args:
            indices: int64 (B,), places in the split.
        """
        rows, first = self.pooled_rows[indices], len(self.caches[0])
        size = self.caches[0].images.shape[1:]
        pixels = np.empty((len(rows), *size), np.uint8)
        for cache, chosen, start in zip(self.caches, (rows < first, rows >= first), (0, first), strict=True):
            pixels[chosen] = cache.images[rows[chosen] - start]
        return pixels

    def draws(self, epoch: int, indices: Rows) -> Draws:
        """Draw what happens to these images in an epoch.

        Args:
            epoch: from 0; of no account where copies are stored.
            indices: int64 (B,), places in the split.
        """
        assert self.recipe is not None  # noqa: S101
        epoch, seed = (0, 0) if self.stored else (epoch, global_seed())
        if self._uniform is None or self._uniform[0] != epoch:
            random = np.random.default_rng(derive_seed(seed, epoch))
            self._uniform = epoch, random.random((int(self._draw_of.max()) + 1, DRAWS), np.float32)
        return draw(self.recipe, self._uniform[1][self._draw_of[indices]])

    def answers(self, indices: Rows) -> Batch:
        """Return `label` and `index`, int64 (B,).

        Args:
            indices: int64 (B,), places in the split.
        """
        return {"label": torch.from_numpy(self.labels[indices]), "index": torch.from_numpy(indices)}


class FeatureSamples(Dataset[Batch]):
    """The same batches with a frozen backbone's output in place of the image: `feature` (B, D), `label` and `index`.

    Args:
        features: (N, D), of all pooled images.
        labels: int64 (N,), likewise.
        rows: which of them belong to the split; copy c of row r stands as `c * N + r`.
    """

    def __init__(self, features: Tensor, labels: Rows, rows: Rows) -> None:
        rows = rows % len(labels)
        self.features, self.labels, self.rows = features, labels[rows], torch.from_numpy(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[int | Key]) -> Batch:
        """Return a whole batch."""
        indices = torch.from_numpy(unzip(keys)[1])
        labels = torch.from_numpy(self.labels)[indices]
        return {"feature": self.features[self.rows[indices]], "label": labels, "index": indices}


def unzip(keys: Sequence[int | Key]) -> tuple[int, Rows]:
    """Take keys apart into their epoch and indices; samplers that are not ours give indices alone: epoch 0.

    Args:
        keys: of one batch, all of one epoch: (epoch, index), or the index.
    """
    pairs = [key if isinstance(key, tuple) else (0, key) for key in keys]
    return pairs[0][0], np.array([index for _, index in pairs], np.int64)


def as_it_is(batch: Any) -> Any:
    """Collate what is a batch already.

    Args:
        batch: what `__getitems__` gave.
    """
    return batch

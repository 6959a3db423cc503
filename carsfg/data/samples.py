"""Samples of a split, cut from the decoded crops."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.augment import Augment, augment_seeded
from carsfg.data.crops import CropCache
from carsfg.data.splits import Rows
from carsfg.seeding import derive_seed, global_seed


class CropSamples(Dataset[dict[str, Any]]):
    """Rows of the decoded crops, as samples `image` (3, S, S) uint8, `label` and `index`.

    Args:
        caches: the decoded crops of `cars_train` and `cars_test`.
        labels: int64 (N,) of both, pooled.
        rows: which of them belong to the split; copy c of row r stands as `c * N + r`.
        augment: a recipe, or None.
        stored: draw each augmentation once and for all, as if the copies were stored, instead of anew every epoch.
    """

    def __init__(
        self,
        caches: list[CropCache],
        labels: Rows,
        rows: Rows,
        augment: Augment | None = None,
        stored: bool = False,
    ) -> None:
        self.caches, self.rows, self.augment, self.stored = caches, rows, augment, stored
        self.labels = labels[rows % len(labels)]
        self._pooled, self._first = len(labels), len(caches[0])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index`; the key is an index, or (epoch, index) as `EpochSampler` yields it."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        row = int(self.rows[index]) % self._pooled
        pixels = self.caches[0].images[row] if row < self._first else self.caches[1].images[row - self._first]
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)
        if self.augment is not None:
            draw = derive_seed(0, int(self.rows[index])) if self.stored else derive_seed(global_seed(), epoch, index)
            image = augment_seeded(self.augment, image, draw)
        return {"image": image, "label": int(self.labels[index]), "index": index}


class FeatureSamples(Dataset[dict[str, Any]]):
    """The same samples with a frozen trunk's output in place of the image: `feature` (D,), `label` and `index`.

    Args:
        features: (N, D), of all pooled images.
        labels: int64 (N,), likewise.
        rows: which of them belong to the split.
    """

    def __init__(self, features: Tensor, labels: Rows, rows: Rows) -> None:
        self.features, self.labels, self.rows = features, labels[rows], rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return sample `index`; the key is an index, or (epoch, index) as `EpochSampler` yields it."""
        index = key[1] if isinstance(key, tuple) else key
        return {"feature": self.features[self.rows[index]], "label": int(self.labels[index]), "index": index}

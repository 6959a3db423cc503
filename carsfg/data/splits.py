"""Protocols: which images train, which choose, which test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from carsfg.data.crop_cache import twins

Protocol = Literal["official", "zero_shot", "seed_leaky"]
Validation = Literal["holdout", "test", "none"]
Rows = npt.NDArray[np.int64]

HOLDOUT = 0.1  # share of train, in every class
LEAKY_COPIES = 4  # stored augmented copies of each training image, in the report's third CNN experiment
LEAKY_SHARE = 0.15  # share of the copies it validated on


@dataclass(frozen=True)
class Splits:
    """Which rows of the two pooled folders belong where: rows 0..n-1 are `cars_train`, the others `cars_test`.

    Attributes:
        train: rows to train on; under `seed_leaky` copy c of row r stands as `c * n + r`, with n all pooled rows.
        val: rows to choose on, likewise; None for no validation.
        test: rows to test on.
    """

    train: Rows
    val: Rows | None
    test: Rows

    def hash(self, digests: Sequence[str]) -> str:
        """Return 12 hexadecimal digits that change with any change of membership, order or image file.

        Args:
            digests: of the image files of both folders, pooled.
        """
        made_of = hashlib.blake2b(digest_size=6)
        for rows in (self.train, self.val, self.test):
            for row in [] if rows is None else rows.tolist():
                made_of.update(f"{row} {digests[row % len(digests)]}\n".encode())
            made_of.update(b"end\n")
        return made_of.hexdigest()


def split(
    protocol: Protocol, val: Validation, labels: Rows, digests: Sequence[str], train_count: int, seed: int
) -> Splits:
    """Lay out the splits of a protocol.

    Args:
        protocol: `official`: the two folders as they are; `zero_shot`: the first half of the classes trains, the other
            tests; `seed_leaky`: augmented copies of `cars_train`, some of which validate, as in the report's third CNN.
        val: what to validate on: a hold-out of train, the test split itself (for curves alone), or nothing.
        labels: int64 (N,), of both folders pooled, 0-based.
        digests: of the N image files.
        train_count: how many of the N are in `cars_train`.
        seed: of the hold-out; the same for every run that is to be compared.
    """
    rows = np.arange(len(labels), dtype=np.int64)
    train, test = rows[:train_count], rows[train_count:]
    if protocol == "seed_leaky":
        return _leaky(train, test, len(rows), seed)
    held: npt.NDArray[np.bool_]
    if protocol == "zero_shot":
        classes = int(labels.max()) + 1
        half = classes // 2
        train, test = rows[labels < half], rows[labels >= half]
        held = labels[train] >= half - max(1, round(half * 18 / 98))  # classes 81-98 of Stanford Cars
    else:
        held = holdout(labels[train], [digests[row] for row in train], seed)
    if val == "holdout":
        return Splits(train[~held], train[held], test)
    return Splits(train, test if val == "test" else None, test)


def holdout(labels: Rows, digests: Sequence[str], seed: int) -> npt.NDArray[np.bool_]:
    """Mark a tenth of each class, at least one image; byte-identical copies are never among them.

    Args:
        labels: int64 (N,) of the training images.
        digests: of their N files.
        seed: decides which.

    Returns:
        bool (N,), true for the held-out images.
    """
    has_twin = np.zeros(len(labels), bool)
    has_twin[[row for group in twins(digests) for row in group]] = True
    held = np.zeros(len(labels), bool)
    random = np.random.default_rng(seed)
    for label in np.unique(labels):
        free = np.flatnonzero((labels == label) & ~has_twin)
        count = max(1, round(HOLDOUT * int((labels == label).sum())))
        held[random.permutation(free)[:count]] = True
    return held


def _leaky(train: Rows, test: Rows, pooled: int, seed: int) -> Splits:
    copies = np.concatenate([copy * pooled + train for copy in range(LEAKY_COPIES)])
    shuffled = np.random.default_rng(seed).permutation(copies)
    count = round(LEAKY_SHARE * len(copies))
    return Splits(np.sort(shuffled[count:]), np.sort(shuffled[:count]), test)

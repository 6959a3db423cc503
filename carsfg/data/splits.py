"""Protocols: the images to train on, to validate on and to test on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from carsfg.data.crop_cache import duplicates
from carsfg.errors import InputError

Protocol = Literal["official", "zero_shot", "seed_leaky"]
Validation = Literal["holdout", "test", "none"]
Rows = npt.NDArray[np.int64]

HOLDOUT_SHARE = 0.1  # of the training images of every class
LEAKY_COPIES = 4  # stored augmented copies of each training image, in the paper's third CNN experiment
LEAKY_SHARE = 0.15  # share of the copies that the paper validated on
NAMED_CLASSES = 5  # classes named in a message; the others are counted


@dataclass(frozen=True)
class Splits:
    """Rows of the pooled images of each split. `cars_train` has rows 0 to n-1, `cars_test` the rows after it.

    Under `seed_leaky` a row also stands for a stored copy of an image: copy c of row r is `c * N + r`, where N is the
    number of all pooled images.

    Attributes:
        train: int64 (T,), rows to train on.
        val: int64 (V,), rows to validate on; None for no validation.
        test: int64 (E,), rows to test on.
    """

    train: Rows
    val: Rows | None
    test: Rows

    def hash(self, digests: Sequence[str]) -> str:
        """Return 12 hexadecimal digits that change with any change of membership, order or image file.

        Args:
            digests: digest of every pooled image file.
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
    """Return the splits of a protocol.

    Args:
        protocol: `official`: the two folders; `zero_shot`: the first half of the classes is trained on, the other half
            is tested; `seed_leaky`: train and validate on augmented copies of `cars_train`, as the paper's third CNN.
        val: validate on a hold-out of train, on the test split (for curves only), or on nothing.
        labels: int64 (N,), 0-based, of all pooled images.
        digests: digest of each of the N image files.
        train_count: number of images in `cars_train`.
        seed: seed of the hold-out, 0 or more; equal for all runs that are compared.

    Raises:
        InputError: the seed is negative, or there are no images.
    """
    if seed < 0:
        raise InputError(f"data.split_seed {seed} is negative: use 0 or more")
    if not len(labels):
        raise InputError("the data set has no images: add images and their annotations")
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
    """Mark a tenth of the images of each class, at least one; byte-identical images and only images are never marked.

    Args:
        labels: int64 (N,) of the training images.
        digests: digest of each of the N files.
        seed: decides which images are marked, 0 or more.

    Returns:
        bool (N,), true for the held-out images.
    """
    is_duplicate = np.zeros(len(labels), bool)
    is_duplicate[[row for group in duplicates(digests) for row in group]] = True
    held = np.zeros(len(labels), bool)
    random = np.random.default_rng(seed)
    for label in np.unique(labels):
        free = np.flatnonzero((labels == label) & ~is_duplicate)
        images = int((labels == label).sum())
        count = min(max(1, round(HOLDOUT_SHARE * images)), images - 1)
        held[random.permutation(free)[:count]] = True
    return held


def check_splits(splits: Splits, labels: Rows, class_names: Sequence[str], processes: int = 1) -> str:
    """Check that there are images to train and to validate on, for every process.

    Args:
        splits: rows to train on, to validate on and to test on.
        labels: int64 (N,), 0-based, of all pooled images.
        class_names: names of the classes that are learned, in label order.
        processes: number of processes of a distributed run.

    Returns:
        One line that names learned classes without a training image; empty if there are none.

    Raises:
        InputError: a split has no image, or fewer than one per process.
    """
    parts = (("train on", splits.train), ("validate on", splits.val), ("test on", splits.test))
    for purpose, rows in parts:
        if rows is None or len(rows) >= processes:
            continue
        if not len(rows):
            advice = "set data.val: none or " if purpose == "validate on" else ""
            raise InputError(f"there is no image to {purpose}: {advice}add images to the data set")
        raise InputError(
            f"{processes} processes need as many images to {purpose}, but there are {len(rows)}: use fewer devices"
        )
    trained = set(labels[splits.train % len(labels)].tolist())
    missing = [name for label, name in enumerate(class_names) if label not in trained]
    if not missing:
        return ""
    more = f" and {len(missing) - NAMED_CLASSES} more" if len(missing) > NAMED_CLASSES else ""
    named = ", ".join(missing[:NAMED_CLASSES])
    return f"{len(missing)} of {len(class_names)} classes have no training image: {named}{more}"


def _leaky(train: Rows, test: Rows, pooled: int, seed: int) -> Splits:
    copies = np.concatenate([copy * pooled + train for copy in range(LEAKY_COPIES)])
    shuffled = np.random.default_rng(seed).permutation(copies)
    count = round(LEAKY_SHARE * len(copies))
    return Splits(np.sort(shuffled[count:]), np.sort(shuffled[:count]), test)

"""Protocols: the images to train on, to validate on and to test on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

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
    """Rows of the pooled images of each split.

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

    def hash(self, digests: Sequence[str], labels: Rows) -> str:
        """Return 12 hexadecimal digits that change with any change of membership, classes or image files.

        They depend neither on the order of the images nor on the names of classes, files and folders.

        Args:
            digests: digest of the file of each of the N pooled images.
            labels: int64 (N,), 0-based.
        """
        first_of_class: dict[int, str] = {}
        for label, one in zip(labels.tolist(), digests, strict=True):
            first_of_class[label] = min(one, first_of_class.get(label, one))
        made_of = hashlib.blake2b(digest_size=6)
        for rows in (self.train, self.val, self.test):
            images = [divmod(row, len(digests)) for row in ([] if rows is None else rows.tolist())]
            lines = sorted(f"{copy} {digests[row]} {first_of_class[int(labels[row])]}\n" for copy, row in images)
            made_of.update("".join([*lines, "end\n"]).encode())
        return made_of.hexdigest()


def split(
    protocol: Protocol,
    val: Validation,
    labels: Rows,
    digests: Sequence[str],
    parts: npt.NDArray[np.str_],
    seed: int,
    clusters: Rows | None = None,
) -> Splits:
    """Return the splits of a protocol.

    Args:
        protocol: `official`: the given parts; `zero_shot`: the first half of the classes is trained on, the other half
            is tested; `seed_leaky`: train and validate on augmented copies of training images, as the paper's third
            CNN.
        val: validate on a hold-out of train, on the test split (for curves only), or on nothing. A given part `val`
            is the hold-out; otherwise it is drawn from `train`.
        labels: int64 (N,), 0-based, of all pooled images.
        digests: digest of each of the N image files.
        parts: (N,), `train`, `val` or `test`; an image with another word is in no split.
        seed: seed of the hold-out, 0 or more; equal for all runs that are compared.
        clusters: int64 (N,), images with the same number stay in one split; by default only byte-identical files do.

    Raises:
        InputError: the seed is negative, or there are no images.
    """
    if seed < 0:
        raise InputError(f"data.split_seed {seed} is negative: use 0 or more")
    if not len(labels):
        raise InputError("the data set has no images: add images and their annotations")
    given = parts == "val"
    train, test = np.flatnonzero((parts == "train") | given), np.flatnonzero(parts == "test")
    if protocol == "seed_leaky":
        return _leaky(train, test, len(labels), seed)
    held: npt.NDArray[np.bool_]
    if protocol == "zero_shot":
        classes = int(labels.max()) + 1
        half = classes // 2
        known = np.isin(parts, ("train", "val", "test"))
        train, test = np.flatnonzero(known & (labels < half)), np.flatnonzero(known & (labels >= half))
        held = labels[train] >= half - max(1, round(half * 18 / 98))  # classes 81-98 of Stanford Cars
    elif given.any():
        held = given[train]
    else:
        groups = cluster(digests) if clusters is None else clusters
        held = holdout(labels[train], [digests[row] for row in train.tolist()], groups[train], seed)
    if val == "holdout":
        return Splits(train[~held], train[held], test)
    return Splits(train, test if val == "test" else None, test)


def cluster(digests: Sequence[str], groups: Sequence[str] | None = None, pairs: Rows | None = None) -> Rows:
    """Number the images so that those that must stay in one split have the same number.

    Those are byte-identical files, images of one group, near duplicates, and images that are linked through others.

    Args:
        digests: digest of each of the N image files.
        groups: name of the group of each image, `""` for none.
        pairs: int64 (P, 2), places of near duplicates.

    Returns:
        int64 (N,), numbers from 0.
    """
    links = [np.empty((0, 2), np.int64) if pairs is None else pairs]
    for names in (digests, groups or []):
        links += [np.array([(same[0], other) for other in same[1:]]) for same in repeated(names)]
    ends = np.concatenate(links)
    graph = coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(digests), len(digests)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def holdout(
    labels: Rows, digests: Sequence[str], clusters: Rows, seed: int, share: float = HOLDOUT_SHARE
) -> npt.NDArray[np.bool_]:
    """Mark a share of the images of each class, at least one if the class has two clusters.

    Whole clusters are marked, in the order of a hash of the seed and their files. So neither the order of images and
    classes nor their names matter, and images that are added later move few of the others. A cluster with images of
    several classes is never marked.

    Args:
        labels: int64 (N,).
        digests: digest of each of the N files.
        clusters: int64 (N,), images with the same number stay together.
        seed: decides which images are marked, 0 or more.
        share: of the images of a class, 0..1.

    Returns:
        bool (N,), true for the held-out images.
    """
    rows_of: dict[int, list[int]] = {}
    for row, number in enumerate(clusters.tolist()):
        rows_of.setdefault(number, []).append(row)
    whole: dict[int, list[list[int]]] = {}
    for rows in rows_of.values():
        classes = set(labels[rows].tolist())
        whole.setdefault(classes.pop() if len(classes) == 1 else -1, []).append(rows)
    mixed = whole.pop(-1, [])
    held = np.zeros(len(labels), bool)
    for label, own in whole.items():
        images = int((labels == label).sum())
        keeps_one = any((labels[rows] == label).any() for rows in mixed)
        ordered = sorted(own, key=lambda rows: _rank(min(digests[row] for row in rows), seed))
        for rows in _fill(ordered, max(1, round(share * images)), len(own) - (not keeps_one)):
            held[rows] = True
    return held


def _rank(digest: str, seed: int) -> str:
    return hashlib.blake2b(f"{seed} {digest}".encode(), digest_size=8).hexdigest()


def _fill(ordered: list[list[int]], wanted: int, most: int) -> list[list[int]]:
    """Take at most `most` clusters in order, without exceeding `wanted` images; the smallest one if all exceed it."""
    taken: list[list[int]] = []
    for rows in ordered:
        if len(taken) < most and sum(map(len, taken)) + len(rows) <= wanted:
            taken.append(rows)
    return taken or sorted(ordered, key=len)[: min(1, most)]


def repeated(names: Sequence[str]) -> list[list[int]]:
    """Group the places of equal names, in the order of each group's first; groups of one and `""` are left out.

    Args:
        names: digests of files, or names of groups.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name:
            places.setdefault(name, []).append(place)
    return [group for group in places.values() if len(group) > 1]


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

"""Splits of photos of one's own: drawn or given, without images on two sides."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from carsfg.data.sources.source import ImageSource, Part
from carsfg.data.splits import NAMED_CLASSES, Rows, holdout, repeated
from carsfg.errors import InputError

TEST_SHARE = 0.2  # of the images of each class, if no test split is given
Parts = npt.NDArray[np.str_]


DEFAULT_MIN_IMAGES = 4  # of a class that is learned


def leave_out_small_classes(source: ImageSource, min_images: int, keep: bool) -> tuple[ImageSource, int, str]:
    """Leave out the classes with few images, or number them after the others.

    Args:
        source: all images.
        min_images: smallest number of images of a class that is learned.
        keep: keep the images of the other classes.

    Returns:
        The images that are used; the number of classes that are learned, which come first; and one line that names the
        other classes, empty if there are none.

    Raises:
        InputError: fewer than two classes have enough images.
    """
    counts = np.bincount(source.labels.numpy(), minlength=len(source.class_names))
    large = [name for name, count in zip(source.class_names, counts, strict=True) if count >= min_images]
    small = [name for name, count in zip(source.class_names, counts, strict=True) if 0 < count < min_images]
    if len(large) < 2:
        raise InputError(
            f"{source.folder} has {count_of(len(large), 'class', 'classes')} with {min_images} or more images, but a "
            "network learns at least 2: add images"
            + (", or set --data.min_images" if np.sort(counts)[-2:].min() > 1 and len(counts) > 1 else "")
        )
    if keep:
        return (
            source.with_class_names(large + small),
            len(large),
            _small_line(small, min_images, "kept in the gallery only"),
        )
    kept = source.take(np.flatnonzero(counts[source.labels.numpy()] >= min_images))
    return kept.with_class_names(large), len(large), _small_line(small, min_images, "left out")


def count_of(number: int, one: str, many: str) -> str:
    """Return a number with its noun, such as `1 class`.

    Args:
        number: 0 or more.
        one: the noun for 1.
        many: the noun for other numbers.
    """
    return f"{number:,} {one if number == 1 else many}"


def _small_line(small: Sequence[str], min_images: int, what: str) -> str:
    if not small:
        return ""
    more = f" and {len(small) - NAMED_CLASSES} more" if len(small) > NAMED_CLASSES else ""
    have = "class has" if len(small) == 1 else "classes have"
    return f"{len(small)} {have} fewer than {min_images} images, {what}: {', '.join(small[:NAMED_CLASSES])}{more}"


def assign_test(labels: Rows, digests: Sequence[str], clusters: Rows, seed: int) -> Parts:
    """Draw 20 % of each class for the test split; the rest is `train`.

    Args:
        labels: int64 (N,).
        digests: digest of each of the N files.
        clusters: int64 (N,), images with the same number stay together.
        seed: decides which images are drawn, 0 or more.
    """
    drawn = holdout(labels, digests, clusters, seed, TEST_SHARE)
    return np.where(drawn, "test", "train").astype("<U7")


def given_parts(parts: Sequence[Part]) -> tuple[Parts, list[str]]:
    """Return given splits; `val` is the test split if there is no other.

    Args:
        parts: `train`, `val` or `test` for each image.

    Returns:
        The parts, and lines that say what was done.

    Raises:
        InputError: there are no training images.
    """
    found = np.array(parts, "<U7")
    if not (found == "train").any():
        raise InputError("no image is in the split 'train'")
    if (found == "test").any():
        return found, []
    if not (found == "val").any():
        raise InputError("the splits have no 'test' and no 'val': add one, or leave the splits out to have both drawn")
    found[found == "val"] = "test"
    line = "no test split is given: 'val' is used as the test split, and 10 % of 'train' for validation"
    return found, [line]


def describe_clusters(digests: Sequence[str], groups: Sequence[str] | None, pairs: Rows, clusters: Rows) -> list[str]:
    """Return one line that counts the images that were kept together, or nothing.

    Args:
        digests: digest of each of the N files.
        groups: name of the group of each image, `""` for none.
        pairs: int64 (P, 2), places of near duplicates.
        clusters: int64 (N,), images with the same number stay together.
    """
    sizes = np.bincount(clusters)
    if not (sizes > 1).any():
        return []
    kinds = {
        "byte-identical": sum(map(len, repeated(digests))),
        "near duplicates": len(np.unique(pairs)),
        "of a group": sum(map(len, repeated(groups or []))),
    }
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    sets = count_of(int((sizes > 1).sum()), "set", "sets")
    return [f"{sizes[sizes > 1].sum():,} images stay together in {sets} ({counted})"]


def describe_parts(parts: Parts, classes: int) -> str:
    """Return one line that counts the images, such as `40 images of 2 classes: 32 to train and validate, 8 to test`.

    Args:
        parts: `train`, `val`, `test` or `gallery` for each image.
        classes: number of classes that are learned.
    """
    counts = {part: int((parts == part).sum()) for part in ("test", "gallery")}
    learning = len(parts) - sum(counts.values())
    images, of = count_of(len(parts), "image", "images"), count_of(classes, "class", "classes")
    gallery = f", {counts['gallery']:,} in the gallery only" if counts["gallery"] else ""
    return f"{images} of {of}: {learning:,} to train and validate, {counts['test']:,} to test{gallery}"


def check_leaks(source: ImageSource, parts: Parts, clusters: Rows, allowed: bool) -> int:
    """Check that given splits share neither byte-identical files nor groups.

    Args:
        source: all images.
        parts: `train`, `val` or `test` for each image.
        clusters: int64 (N,), byte-identical files and groups have the same number.
        allowed: count them without an error.

    Returns:
        The number of sets of images that lie in two splits.

    Raises:
        InputError: there are some, and they are not allowed.
    """
    order = np.lexsort((parts, clusters))
    same = clusters[order][1:] == clusters[order][:-1]
    across = np.flatnonzero(same & (parts[order][1:] != parts[order][:-1]))
    leaks = len(np.unique(clusters[order][across]))
    if leaks and not allowed:
        one, other = (source.name(int(order[place])) for place in (across[0], across[0] + 1))
        raise InputError(
            f"{count_of(leaks, 'set', 'sets')} of byte-identical files or images of a group in two splits, such as "
            f"{one} and {other}: remove one of each, or accept it with --data.allow_leaks=true"
        )
    return leaks

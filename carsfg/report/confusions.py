"""Confusions of a network: pairs of classes, their severity, and accuracy by attributes of the classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carsfg.data.class_names import UNKNOWN, parse
from carsfg.report.runs import Attributes, Confusions

KINDS = (
    "right",
    "same model, another year",
    "same make and model, another body",
    "same make, another model",
    "same body, another make",
    "neither make nor body",
)


@dataclass(frozen=True)
class Pair:
    """Two classes, and the number of images of the first that were predicted as the second.

    Attributes:
        truth: the first class.
        predicted: the second class.
        images: number that was confused.
        of: number of images of the first class.
    """

    truth: str
    predicted: str
    images: int
    of: int


def per_class(confusions: Confusions) -> dict[str, tuple[int, int]]:
    """Return (number of right images, number of images) of each class.

    Args:
        confusions: images by true and predicted class.
    """
    counts: dict[str, tuple[int, int]] = {}
    for (truth, predicted), images in confusions.items():
        right, all_of_it = counts.get(truth, (0, 0))
        counts[truth] = right + images * (truth == predicted), all_of_it + images
    return counts


def confused_pairs(confusions: Confusions, most: int = 15) -> list[Pair]:
    """Return the most frequent confusions, most images first.

    Args:
        confusions: images by true and predicted class.
        most: maximum number of pairs.
    """
    counts = per_class(confusions)
    wrong = [Pair(*pair, images, counts[pair[0]][1]) for pair, images in confusions.items() if pair[0] != pair[1]]
    return sorted(wrong, key=_most_first)[:most]


def severity(confusions: Confusions) -> dict[str, int]:
    """Count images by what the predicted class has in common with the true one, in the order of `KINDS`.

    Args:
        confusions: images by true and predicted class.
    """
    counts = dict.fromkeys(KINDS, 0)
    for (truth, predicted), images in confusions.items():
        counts[_kind(truth, predicted)] += images
    return counts


def same_model_pairs(confusions: Confusions) -> list[Pair]:
    """Return pairs of one make and model that differ in year or body only, most images first.

    A pair has both directions: `images` counts the confusions of either class, `of` the images of both.

    Args:
        confusions: images by true and predicted class.
    """
    counts, mixed = per_class(confusions), dict[tuple[str, str], int]()
    for (truth, predicted), images in confusions.items():
        if _kind(truth, predicted) in KINDS[1:3]:
            one, other = sorted((truth, predicted))
            mixed[one, other] = mixed.get((one, other), 0) + images
    pairs = [Pair(*both, images, sum(counts.get(name, (0, 0))[1] for name in both)) for both, images in mixed.items()]
    return sorted(pairs, key=_most_first)


def parsed_attributes(class_names: Iterable[str]) -> Attributes:
    """Return make, body type and year of each class of Stanford Cars or drawn cars.

    Args:
        class_names: such as `BMW M3 Sedan 2012`.
    """
    cars = {name: parse(name) for name in class_names}
    parts = ("make", "body", "year")
    return {part: {name: str(getattr(car, part) or UNKNOWN) for name, car in cars.items()} for part in parts}


def accuracy_by(confusions: Confusions, values: Mapping[str, str]) -> dict[str, tuple[float, int]]:
    """Return (accuracy of the predicted class, number of images) by an attribute of the true class.

    Args:
        confusions: images by true and predicted class.
        values: value of the attribute for each class.
    """
    counts: dict[str, list[int]] = {}
    for truth, (right, images) in per_class(confusions).items():
        count = counts.setdefault(values.get(truth) or UNKNOWN, [0, 0])
        count[0] += right
        count[1] += images
    return {name: (right / images, images) for name, (right, images) in sorted(counts.items())}


def _most_first(pair: Pair) -> tuple[int, str, str]:
    return -pair.images, pair.truth, pair.predicted


def _kind(truth: str, predicted: str) -> str:
    if truth == predicted:
        return KINDS[0]
    one, other = parse(truth), parse(predicted)
    if one.make != other.make:
        return KINDS[4] if one.body == other.body else KINDS[5]
    if one.model != other.model:
        return KINDS[3]
    return KINDS[1] if one.body == other.body else KINDS[2]

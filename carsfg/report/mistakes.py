"""What a network's mistakes are like: which pairs, how severe, and how often by make, body type and year."""

from dataclasses import dataclass

from carsfg.data.names import UNKNOWN, parse
from carsfg.report.runs import Confusions

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
    """Two classes, and how many images of the first were taken for the second."""

    truth: str
    predicted: str
    images: int
    of: int


def confused_pairs(confusions: Confusions, most: int = 15) -> list[Pair]:
    """Return the pairs most often confused, most images first.

    Args:
        confusions: images by true and predicted class.
        most: pairs, at most.
    """
    totals: dict[str, int] = {}
    for (truth, _), images in confusions.items():
        totals[truth] = totals.get(truth, 0) + images
    wrong = [Pair(*pair, images, totals[pair[0]]) for pair, images in confusions.items() if pair[0] != pair[1]]
    return sorted(wrong, key=lambda pair: (-pair.images, pair.truth, pair.predicted))[:most]


def severity(confusions: Confusions) -> dict[str, int]:
    """Count images by how far the predicted car is from the true one, from right to nothing in common.

    Args:
        confusions: images by true and predicted class.
    """
    counts = dict.fromkeys(KINDS, 0)
    for (truth, predicted), images in confusions.items():
        counts[_kind(truth, predicted)] += images
    return counts


def twin_pairs(confusions: Confusions) -> list[Pair]:
    """Return confused pairs of one make and model that differ in year or body alone, most images first.

    Args:
        confusions: images by true and predicted class.
    """
    pairs = confused_pairs(confusions, most=len(confusions))
    return [pair for pair in pairs if _kind(pair.truth, pair.predicted) in KINDS[1:3]]


def accuracy_by(confusions: Confusions, part: str) -> dict[str, tuple[float, int]]:
    """Return the accuracy of the predicted class, and how many images, by `make`, `body` or `year` of the true one.

    Args:
        confusions: images by true and predicted class.
        part: `make`, `body` or `year`.
    """
    counts: dict[str, list[int]] = {}
    for (truth, predicted), images in confusions.items():
        count = counts.setdefault(str(getattr(parse(truth), part) or UNKNOWN), [0, 0])
        count[0] += images * (truth == predicted)
        count[1] += images
    return {name: (right / images, images) for name, (right, images) in sorted(counts.items())}


def _kind(truth: str, predicted: str) -> str:
    if truth == predicted:
        return KINDS[0]
    one, other = parse(truth), parse(predicted)
    if one.make != other.make:
        return KINDS[4] if one.body == other.body else KINDS[5]
    if one.model != other.model:
        return KINDS[3]
    return KINDS[1] if one.body == other.body else KINDS[2]

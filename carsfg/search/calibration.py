"""Whether a photo shows a car like those in a gallery, by the score of its nearest image.

The p-value is conformal: p = (1 + m) / (n + 1). n is the number of calibration images, m the number of those that are
no closer to the gallery than the photo. If new photos of known classes are like the calibration images, a share of at
most p of them has a p-value of p or less. Training images are closer to each other than to new photos: if they are the
calibration images, p is too small.
Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; the nearest neighbour's similarity
as the score: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022.
"""

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from carsfg.search.gallery import Gallery

MIN_KNOWN_P = 0.05  # a photo with a smaller p-value is said not to show a car like those in the gallery
SCORE_DIGITS = 6  # digits of a score that mean something: in float32 the cosine of equal images is 1 to within 1e-7
MAX_CALIBRATION_IMAGES = 2000  # scores that are kept: p-values in steps of 0.05 %
MIN_CALIBRATION_IMAGES = 1000  # the search ends when this many are left without duplicates
MAX_SEARCHED_IMAGES = 10 * MAX_CALIBRATION_IMAGES
SAME_DISTANCE = 1e-3  # of the embeddings' length; by cosine 1 - score is half its square, which float32 cannot resolve


def calibrate(gallery: Gallery, embeddings: Tensor, itself: bool) -> list[float]:
    """Return the scores of images of known classes with their nearest gallery image, ascending.

    An image of the gallery is searched among the other images. It is left out if its nearest image has the same
    embedding, because a duplicate is closer than a new photo would be.

    Args:
        gallery: index in which the nearest images are found.
        embeddings: float (N, D) of cars of known classes; at most 2,000 of them are drawn.
        itself: they are the gallery's own images, in its order.
    """
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))
    kept: list[float] = []
    for some in torch.split(order[:MAX_SEARCHED_IMAGES], MAX_CALIBRATION_IMAGES):
        scores, places = gallery.search(embeddings[some], 1, some if itself else None)
        found = places[:, 0] >= 0
        if itself:
            found &= ~_is_same(embeddings[some], embeddings[places[:, 0]])
        kept += scores[found, 0].tolist()
        if len(kept) >= MIN_CALIBRATION_IMAGES:
            break
    return sorted(round(score, SCORE_DIGITS) for score in kept[:MAX_CALIBRATION_IMAGES])


def _is_same(one: Tensor, other: Tensor) -> Tensor:
    """Whether embeddings (N, D) are those of the same image, bool (N,), up to rounding in a batch."""
    distance = (one.float() - other.float()).norm(dim=1)
    same: Tensor = distance <= SAME_DISTANCE * one.float().norm(dim=1)
    return same


def p_value(score: float, calibration: Sequence[float]) -> float:
    """Return the p-value of a photo as one of a known car, 0..1.

    Args:
        score: of the photo's nearest image, as `Gallery.search` gives it.
        calibration: as `calibrate` gives it.
    """
    return (1 + bisect_right(calibration, round(score, SCORE_DIGITS))) / (len(calibration) + 1)

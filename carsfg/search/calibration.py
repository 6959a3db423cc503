"""Whether a photo shows a car like those in a gallery, by how near the nearest of them is.

The score is a conformal p-value: p = (1 + count of known cars that lie no nearer to their nearest) / (n + 1).
Of further photos of known cars a share of at most p scores below p, if they are like those it was calibrated with;
where these were trained on, they lie nearer to each other than others do, and p is too small.
Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; the nearest neighbour's similarity
as the score: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022.
"""

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from carsfg.search.gallery import Gallery

UNKNOWN = 0.05  # below this p, a photo is said to show no car of the gallery's
DIGITS = 6  # of a score that say something: in float32 the cosine of equal images is 1 to within some 1e-7
MOST = 2000  # known cars that are kept: enough for steps of 0.05 %


def calibrate(gallery: Gallery, embeddings: Tensor, itself: bool) -> list[float]:
    """Return ascending scores of known cars with what is nearest to them.

    Args:
        gallery: what they are searched in.
        embeddings: float (N, D) of known cars; at most 2,000 of them are drawn.
        itself: they are the gallery's own, in its order: each is searched among the others.
    """
    some = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))[:MOST]
    scores, _ = gallery.search(embeddings[some], 1, some if itself else None)
    return sorted(round(one, DIGITS) for one in scores.flatten().tolist() if one > -torch.inf)


def known_p(score: float, known: Sequence[float]) -> float:
    """Return the p-value of a photo whose nearest image has this score; `known` is ascending.

    Args:
        score: as `Gallery.search` gives it.
        known: as `calibrate` gives them.
    """
    return (1 + bisect_right(known, round(score, DIGITS))) / (len(known) + 1)

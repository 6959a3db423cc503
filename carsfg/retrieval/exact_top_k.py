"""The k best by score, ties by gallery index, from an index or a heap that orders ties in any way."""

from collections.abc import Callable

import torch
from torch import Tensor

Fetch = Callable[[slice | Tensor, int], tuple[Tensor, Tensor]]


def exact_top_k(fetch: Fetch, k: int, count: int) -> tuple[Tensor, Tensor]:
    """Fetch one item more than k, and twice as many for the queries with a tie on the last position.

    Args:
        fetch: gives scores and gallery indices (B, n) of some of the queries, their n best in any order; the index is
            -1 where there are no more.
        k: items to find per query, at most `count`.
        count: the largest number of items that can be found.

    Returns:
        Scores, float32 (Q, k), and gallery indices, int64 (Q, k), best first; where there are no more, -inf and -1.
    """
    fetched = min(k + 1, count)
    scores, indices = _by_score_then_index(*fetch(slice(None), fetched))
    last, beyond = scores[:, k - 1], scores[:, -1]
    while fetched < count and (cut := (last == beyond) & torch.isfinite(last)).any():
        fetched = min(2 * fetched, count)
        again = _by_score_then_index(*fetch(cut, fetched))
        scores[cut, :k], indices[cut, :k] = again[0][:, :k], again[1][:, :k]
        beyond[cut] = again[0][:, -1]
    return scores[:, :k], indices[:, :k]


def pad(scores: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Fill up to k positions with -inf and -1.

    Args:
        scores: float32 (Q, K).
        indices: int64 (Q, K).
        k: number of results wanted, at least the width K of `scores`.
    """
    missing, fill = k - scores.shape[1], torch.nn.functional.pad
    return fill(scores, (0, missing), value=-torch.inf), fill(indices, (0, missing), value=-1)


def _by_score_then_index(scores: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    scores[indices < 0] = -torch.inf
    indices, order = indices.sort(1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return scores, indices.gather(1, order)

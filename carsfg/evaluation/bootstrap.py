"""Bootstrap intervals: how far a mean over queries would move with other images of the same kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from carsfg.retrieval.similarity import Metric, prepare, score_chunks

RESAMPLES, JOINT_RESAMPLES = 1000, 400  # of `intervals` and of `joint_intervals`
COVERAGE, SEED = 0.95, 0
MAX_ADDITIONS = 1e11  # of `joint_intervals`: galleries of more than 15,000 images get fewer resamples
MIN_RESAMPLES = 200
BLOCK_VALUES = 2**21  # of weighted ranks that are held at a time: they stay in the cache


def intervals(values: Tensor) -> Tensor:
    """Return mean, low and high end of each score, float64 (3, M): percentile-bootstrap intervals of 95 %.

    Each of 1,000 resamples takes Q queries with replacement, the same ones for all scores. An interval goes from the
    2.5th to the 97.5th percentile of the means. It covers the sampling of the queries only: network, gallery and
    classes are fixed. Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        values: (Q, M), of each query.

    Returns:
        The three rows; NaN without queries.
    """
    values = values.double().cpu()
    count = len(values)
    if not count:
        return torch.full((3, values.shape[1]), torch.nan, dtype=torch.float64)
    means = torch.from_numpy(_sample_counts(count, RESAMPLES)).double() @ values / count
    return torch.cat([values.mean(0, keepdim=True), torch.quantile(means, _ends(), dim=0)])


def joint_intervals(
    embeddings: Tensor,
    labels: Tensor,
    values: Tensor,
    k: Mapping[str, int],
    metric: Metric,
    resamples: int = JOINT_RESAMPLES,
) -> Tensor:
    """Return mean, low and high end of each score of images searched among themselves, float64 (3, M).

    Each image is a query and a gallery item, so the values of the queries are not independent. Each resample has as
    many images as the data, sampled with replacement: an image that is sampled n times counts n times as a query, and
    is n times in the gallery; a query finds no copies of itself. The ends are the 2.5th and 97.5th percentile of the
    scores of the resamples. They are moved by the difference between the mean over all images and the mean of the
    resamples, because a gallery with copies and gaps is easier or harder than a full one. Very large galleries have
    fewer resamples.

    Args:
        embeddings: float (N, D).
        labels: int64 (N,).
        values: (Q, M), of each query with relevant items: of top-k scores, precision, `r_precision`, `map_at_r`, `map`.
        k: number of ranks by name of the score, in the order of the columns; 0 for the last three.
        metric: `cosine` or `euclidean`.
        resamples: number of times that the images are sampled with replacement.

    Returns:
        The three rows; NaN without queries.
    """
    mean = values.double().mean(0, keepdim=True)
    if not len(values):
        return mean.expand(3, -1)
    count = len(labels)
    resamples = joint_resamples(count, resamples)
    weights = np.ascontiguousarray(_sample_counts(count, resamples).T, np.int16 if count < 2**15 else np.int32)
    total, queries = torch.zeros(resamples, len(k), dtype=torch.float64), torch.zeros(resamples, dtype=torch.float64)
    prepared, itself = prepare(embeddings, metric), torch.arange(count)
    most = int(torch.bincount(labels).max())
    block = max(1, BLOCK_VALUES // (most * resamples))
    for rows, scores in score_chunks(prepared, prepared, itself, metric):
        by_class = labels[rows].argsort(stable=True)  # so that the queries of a block have about as many relevant items
        for chosen in torch.split(by_class, block):
            some = rows[chosen]
            order = scores[chosen].argsort(dim=1, descending=True, stable=True)[:, :-1]  # the query, -inf, is last
            above, own = _weighted_ranks(order, labels[order] == labels[some, None], weights)
            times = torch.from_numpy(weights[some.numpy()]).double()  # (q, B)
            total += torch.einsum("qbm,qb->bm", _weighted_scores(above, own, k).double(), times)
            queries += (times * own.any(1)).sum(0)
    means = total / queries[:, None]
    means = means[means.isfinite().all(1)]
    ends = torch.quantile(means, _ends(), dim=0) - means.mean(0) + mean
    return torch.cat([mean, ends.clamp(0, 1)])


def joint_resamples(count: int, wanted: int = JOINT_RESAMPLES) -> int:
    """Return the number of resamples of `joint_intervals`: fewer for very large galleries.

    Args:
        count: number of images that are searched among themselves.
        wanted: upper limit.
    """
    return max(min(wanted, MIN_RESAMPLES), min(wanted, int(MAX_ADDITIONS / max(count, 1) ** 2)))


def _weighted_ranks(order: Tensor, hits: Tensor, weights: npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Return how many copies lie above each relevant item, and how many it has itself, float32 (q, R, B).

    R is the largest number of relevant items of a query. A query with fewer items has zeros in the other columns.

    Args:
        order: gallery items of q queries, nearest first, int64 (q, N - 1).
        hits: whether they are relevant, bool (q, N - 1).
        weights: how often each item is sampled, (N, B).
    """
    row, rank = hits.nonzero(as_tuple=True)
    counts = hits.sum(1)
    position = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]  # among the relevant items of its query
    begins = torch.arange(len(order)) * order.shape[1]
    ends = torch.cat([begins, begins[row] + rank + 1])  # of runs of items that end with a relevant one, or the ranking
    ends, source = ends.sort(stable=True)
    indices = order.flatten().to(torch.int32).numpy()
    runs = csr_array(
        (np.ones(len(indices), weights.dtype), indices, np.r_[ends.numpy(), len(indices)]), (len(ends), len(weights))
    )
    sums = torch.from_numpy(runs @ weights)
    is_last = torch.ones(len(ends), dtype=torch.bool)
    is_last[source.argsort()[len(order) :] - 1] = False  # the run before the end of a relevant item is its own
    shape = (len(order), int(counts.max()), weights.shape[1])
    above, own = torch.zeros(shape), torch.zeros(shape)
    above[row, position] = sums[~is_last].float()
    own[row, position] = torch.from_numpy(weights[order[row, rank].numpy()]).float()
    return above.cumsum_(1) - own, own


def _weighted_scores(above: Tensor, own: Tensor, k: Mapping[str, int]) -> Tensor:
    """Return the scores of queries in each resample, float32 (q, B, M).

    Args:
        above: copies above each relevant item, (q, R, B).
        own: copies of each relevant item, (q, R, B).
        k: as for `joint_intervals`.
    """
    count = own.sum(1)
    right_above = own.cumsum(1) - own
    first_r = (count[:, None] - above).clamp(min=0).minimum(own)  # copies among the first R
    gains = (right_above + 1) / (above + 1)  # precision at each item, summed over its copies
    gains, gains_at_r = gains * (own >= 1), gains * (first_r >= 1)
    where = (own >= 2).flatten().nonzero()[:, 0]
    copies = int(own.max()) if own.numel() else 0  # no query of the block may have a relevant item
    for copy in range(2, copies + 1):
        where = where[own.flatten()[where] >= copy]  # few items have several copies
        gain = (right_above.flatten()[where] + copy) / (above.flatten()[where] + copy)
        gains.view(-1)[where] += gain
        gains_at_r.view(-1)[where] += gain * (first_r.flatten()[where] >= copy)
    by_name = {"r_precision": first_r.sum(1), "map_at_r": gains_at_r.sum(1), "map": gains.sum(1)}
    scores = []
    for name, ranks in k.items():
        if name in by_name:
            scores.append(by_name[name] / count.clamp(min=1))
        elif name.startswith("top_"):
            scores.append(((above < ranks) & (own > 0)).any(1).float())
        else:
            scores.append((ranks - above).clamp(min=0).minimum(own).sum(1) / ranks)
    return torch.stack(scores, 2)


def _sample_counts(count: int, resamples: int) -> npt.NDArray[np.int64]:
    """Return how often each of `count` items is sampled in each resample, (resamples, count)."""
    return np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=resamples)


def _ends() -> Tensor:
    return torch.tensor([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], dtype=torch.float64)

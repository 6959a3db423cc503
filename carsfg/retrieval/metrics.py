"""Retrieval and k-NN metrics, as pure functions on tensors.

A query has R relevant gallery items, those of its class. Gallery items are ranked by score, ties by gallery index; a
query that lies in the gallery itself is left out by its index, never by its distance. rel(i) is 1 where the item at
rank i is relevant, and P(i) the share of relevant items among the first i. Queries with R = 0 have no score.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


def relevant_counts(query_labels: Tensor, gallery_labels: Tensor, itself: Tensor | None = None) -> Tensor:
    """Return R, int64 (Q,): how many gallery items are of each query's class, the query itself left out.

    Args:
        query_labels: int64 (Q,).
        gallery_labels: int64 (G,).
        itself: int64 (Q,), each query's position in the gallery; None where queries are not in it.
    """
    classes = int(torch.cat([query_labels, gallery_labels]).max()) + 1
    counts = torch.bincount(gallery_labels, minlength=classes)[query_labels]
    return counts if itself is None else counts - 1


def find_hits(neighbours: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """Return rel(i), bool (Q, K), of neighbours (Q, K) by gallery index; -1 stands for none.

    Args:
        neighbours: int64 (Q, K), as `Gallery.search` gives them.
        query_labels: int64 (Q,).
        gallery_labels: int64 (G,).
    """
    return (gallery_labels[neighbours] == query_labels[:, None]) & (neighbours >= 0)


def top_k(hits: Tensor, k: int) -> Tensor:
    """Return 1 where one of the first k is relevant, else 0, float (Q,); the literature's Recall@k.

    Args:
        hits: bool (Q, K).
        k: ranks to look at.
    """
    return hits[:, :k].any(1).float()


def precision_at_k(hits: Tensor, k: int) -> Tensor:
    """Return P(k), float (Q,): the share of relevant items among the first k, of which a small gallery has fewer.

    Args:
        hits: bool (Q, K).
        k: ranks to look at.
    """
    return hits[:, :k].sum(1) / k


def r_precision(hits: Tensor, relevant: Tensor) -> Tensor:
    """Return P(R), float (Q,).

    Args:
        hits: bool (Q, K), K at least the largest R.
        relevant: R, int64 (Q,).
    """
    return _first_r(hits, relevant).sum(1) / relevant


def map_at_r(hits: Tensor, relevant: Tensor) -> Tensor:
    """Return MAP@R, (1/R) sum over i <= R of P(i) rel(i), float (Q,) (Musgrave et al. 2020).

    Args:
        hits: bool (Q, K), K at least the largest R.
        relevant: R, int64 (Q,).
    """
    first = _first_r(hits, relevant)
    ranks = torch.arange(1, first.shape[1] + 1, device=hits.device)
    return (first * first.cumsum(1) / ranks).sum(1) / relevant


def average_precision_of_scores(scores: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """Return AP over the whole ranking, (1/R) sum over i of P(i) rel(i), float64 (Q,); not a number where R = 0.

    The rank of each relevant item is one more than the count of items above it, looked up in the sorted scores.

    Args:
        scores: float32 (Q, G), higher is nearer; an item with -inf is not in the ranking.
        query_labels: int64 (Q,).
        gallery_labels: int64 (G,).
    """
    columns, there = _relevant_columns(query_labels, gallery_labels)
    there &= scores.gather(1, columns) > -torch.inf
    count = there.sum(1)
    counted = torch.arange(columns.shape[1]) < count[:, None]
    ranks, tied = _ranks(scores, columns, there)
    tied = (tied & counted).any(1)
    if tied.any():
        ranks[tied] = _ranks(_order_keys(scores[tied]), columns[tied], there[tied])[0]
    found = torch.arange(1, columns.shape[1] + 1, dtype=torch.float64)
    return torch.where(counted, found / ranks, 0).sum(1) / torch.where(count > 0, count, torch.nan)


def _relevant_columns(query_labels: Tensor, gallery_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return gallery indices of each query's relevant items, int64 (Q, largest R), and which of them exist."""
    classes = int(torch.cat([query_labels, gallery_labels]).max()) + 1
    counts = torch.bincount(gallery_labels, minlength=classes)
    positions = torch.arange(max(1, int(counts.max())))
    first = (counts.cumsum(0) - counts)[query_labels, None]
    last = len(gallery_labels) - 1
    columns = gallery_labels.argsort(stable=True)[(first + positions).clamp(max=last)]
    return columns, positions < counts[query_labels, None]


def _ranks(scores: Tensor, columns: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ranks of the relevant columns (Q, R), best first, and which of them are tied with something."""
    lowest = -torch.inf if scores.is_floating_point() else torch.iinfo(scores.dtype).min
    ours = scores.gather(1, columns).masked_fill(~there, lowest).sort(1, descending=True).values
    ascending = scores.clone()
    parts = np.array_split(ascending.numpy(), torch.get_num_threads())
    with ThreadPoolExecutor(len(parts)) as pool:  # numpy sorts with vector instructions, without the interpreter's lock
        list(pool.map(np.ndarray.sort, parts))
    up_to = torch.searchsorted(ascending, ours, right=True)
    tied = (up_to > 1) & (ascending.gather(1, (up_to - 2).clamp(min=0)) == ours)
    return scores.shape[1] + 1 - up_to, tied


def _order_keys(scores: Tensor) -> Tensor:
    """Return int64 (B, G), in the order of float32 scores (B, G), equal ones by position: the first is the highest."""
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ordered.long() * 2**32 - torch.arange(scores.shape[1])


def knn_labels(neighbours: Tensor, gallery_labels: Tensor, k: int) -> Tensor:
    """Return the label that most of the first k neighbours have, int64 (Q,); of several, the smallest.

    -1 where there is no neighbour. Source: `sklearn.neighbors.KNeighborsClassifier`, uniform weights.

    Args:
        neighbours: int64 (Q, K), gallery indices, nearest first; -1 stands for none.
        gallery_labels: int64 (G,).
        k: neighbours that vote.
    """
    first = neighbours[:, :k]
    classes = int(gallery_labels.max()) + 1
    votes = torch.zeros(len(first), classes, dtype=torch.int64)
    votes.scatter_add_(1, gallery_labels[first], (first >= 0).long())
    winners = (votes * classes - torch.arange(classes)).argmax(1)  # no two are equal: argmax may return any of those
    return torch.where((first >= 0).any(1), winners, -1)


def _first_r(hits: Tensor, relevant: Tensor) -> Tensor:
    """Keep the hits among the first R."""
    if len(relevant) and int(relevant.max()) > hits.shape[1]:
        raise ValueError(f"a query has {int(relevant.max())} relevant items, the ranking ends at {hits.shape[1]}")
    return hits & (torch.arange(hits.shape[1], device=hits.device) < relevant[:, None])

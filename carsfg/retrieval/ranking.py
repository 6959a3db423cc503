"""All retrieval metrics of given embeddings, from one product of queries and gallery."""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carsfg.errors import TrainingError
from carsfg.retrieval import metrics
from carsfg.retrieval.faiss_index import nearest
from carsfg.retrieval.similarity import Metric, count_zeros, find_fault, prepare, score_chunks
from carsfg.tasks.metrics import averaged_scores


@dataclass
class EmbeddedImages:
    """Embeddings (N, D), labels (N,) and indices (N,) of the images of a loader.

    An index is the position of an image in its split. The images are sorted by index, without repetitions.
    """

    embeddings: Tensor
    labels: Tensor
    indices: Tensor


@dataclass
class RetrievalResult:
    """Neighbours and metrics of a search.

    Attributes:
        queries: the images that were searched for.
        gallery: the images that were searched in; None: the queries themselves.
        neighbours: int64 (Q, K), positions in the gallery, nearest first; -1 stands for none.
        average_precision: float64 (Q,); not a number for a query without relevant items.
        metrics: means over the queries, by name, and seconds.
        by_query: float (Q - left out,), the values behind the ranking metrics, of queries with relevant items.
    """

    queries: EmbeddedImages
    gallery: EmbeddedImages | None
    neighbours: Tensor
    average_precision: Tensor
    metrics: dict[str, float]
    by_query: dict[str, Tensor] = field(default_factory=dict)


def search(
    queries: EmbeddedImages, gallery: EmbeddedImages | None, k: Sequence[int], knn: Sequence[int], metric: Metric
) -> RetrievalResult:
    """Search for every query and compute all metrics.

    Embeddings of zeros have no direction: by cosine they score 0 with everything, and a warning counts them.

    Args:
        queries: the images to search for.
        gallery: the images to search in; None: the queries themselves, each without itself.
        k: for top_k and precision_k.
        knn: for the k-NN vote; its scores are not numbers where there are no neighbours at all.
        metric: `cosine` or `euclidean`.

    Raises:
        TrainingError: an embedding is not finite, or too large for distances in float32.
    """
    itself = torch.arange(len(queries.labels)) if gallery is None else None
    where = queries if gallery is None else gallery
    relevant = metrics.relevant_counts(queries.labels, where.labels, itself)
    begun = time.perf_counter()
    prepared = prepare(where.embeddings, metric)
    fit_s = time.perf_counter() - begun
    _check(where, prepared, metric)
    begun = time.perf_counter()
    points = prepare(queries.embeddings, metric)
    prepare_s = time.perf_counter() - begun
    if gallery is not None:
        _check(queries, points, metric)
    begun = time.perf_counter()
    most = max(*k, *knn, int(relevant.max()))
    neighbours, average_precision, ap_s = _rank(queries.labels, points, prepared, where.labels, itself, most, metric)
    votes = {n: metrics.knn_labels(neighbours, where.labels, n) for n in knn}
    seconds = {"fit_s": fit_s, "predict_s": prepare_s + time.perf_counter() - begun - ap_s}
    some = relevant > 0
    hits, counts = metrics.find_hits(neighbours, queries.labels, where.labels)[some], relevant[some]
    by_query = {f"top_{n}": metrics.top_k(hits, n) for n in k}
    by_query |= {f"precision_{n}": metrics.precision_at_k(hits, n) for n in k if n > 1}
    by_query |= {"r_precision": metrics.r_precision(hits, counts), "map_at_r": metrics.map_at_r(hits, counts)}
    by_query["map"] = average_precision[some]
    values = {key: float(value.double().mean()) for key, value in by_query.items()}
    for n, labels in votes.items():
        values |= _vote_scores(f"knn_{n}", labels, queries.labels)
    values |= {"left_out": float((~some).sum()), **seconds}
    return RetrievalResult(queries, gallery, neighbours, average_precision, values, by_query)


def _check(images: EmbeddedImages, prepared: Tensor, metric: Metric) -> None:
    """Refuse embeddings that cannot be compared, and warn of zeros."""
    fault = find_fault(images.embeddings, prepared)
    if fault:
        raise TrainingError(f"{fault}: the network has diverged; try a smaller model.lr")
    zeros = count_zeros(prepared) if metric == "cosine" else 0
    if zeros:
        warnings.warn(
            f"{zeros} of {len(prepared)} embeddings are all zeros: their cosine with any other is 0", stacklevel=3
        )


def _rank(
    query_labels: Tensor,
    queries: Tensor,
    gallery: Tensor,
    labels: Tensor,
    itself: Tensor | None,
    k: int,
    metric: Metric,
) -> tuple[Tensor, Tensor, float]:
    """Return the k nearest, AP, and the seconds AP took; both are made of one product of queries and gallery."""
    neighbours = torch.empty(len(queries), k, dtype=torch.int64)
    average_precision = torch.empty(len(neighbours), dtype=torch.float64)
    seconds = 0.0
    for rows, scores in score_chunks(queries, gallery, itself, metric):
        neighbours[rows] = nearest(scores, k)[1]
        begun = time.perf_counter()
        average_precision[rows] = metrics.average_precision_of_scores(scores, query_labels[rows], labels)
        seconds += time.perf_counter() - begun
    return neighbours, average_precision, seconds


def _vote_scores(name: str, voted: Tensor, truth: Tensor) -> dict[str, float]:
    """Return accuracy, weighted and macro scores of a vote; not numbers where nobody had a neighbour to vote."""
    has_vote = voted >= 0
    scores = averaged_scores(voted[has_vote], truth[has_vote]) if has_vote.any() else averaged_scores(truth, truth)
    scores = scores if has_vote.any() else dict.fromkeys(scores, math.nan)
    return {name: scores.pop("top1")} | {f"{name}_{key}": value for key, value in scores.items()}

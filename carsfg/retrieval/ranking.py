"""All retrieval figures of given embeddings, from one product of queries and gallery."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carsfg.errors import TrainingError
from carsfg.retrieval import metrics
from carsfg.retrieval.faiss_index import nearest
from carsfg.tasks.metrics import weighted_scores


@dataclass
class Embedded:
    """Embeddings (N, D), labels (N,) and indices (N,) of a loader's images, by index, each once."""

    embeddings: Tensor
    labels: Tensor
    indices: Tensor


@dataclass
class Searched:
    """What a search found.

    Attributes:
        queries: what was searched for.
        gallery: what was searched in; None: the queries themselves.
        neighbours: int64 (Q, K), places in the gallery, nearest first; -1 stands for none.
        average_precision: float64 (Q,); not a number where there is nothing to find.
        figures: means over the queries, by name.
        by_query: float (Q - left out,), what some of them are the means of: of each query with anything to find.
    """

    queries: Embedded
    gallery: Embedded | None
    neighbours: Tensor
    average_precision: Tensor
    figures: dict[str, float]
    by_query: dict[str, Tensor] = field(default_factory=dict)


def search(
    queries: Embedded, gallery: Embedded | None, k: Sequence[int], knn: Sequence[int], metric: metrics.Metric
) -> Searched:
    """Search for every query and compute all figures.

    Args:
        queries: what is searched for.
        gallery: what is searched in; None: the queries themselves, each without itself.
        k: for top_k and precision_k.
        knn: for the k-NN vote.
        metric: `cosine` or `euclidean`.

    Raises:
        TrainingError: an embedding is not finite.
    """
    itself = torch.arange(len(queries.labels)) if gallery is None else None
    where = queries if gallery is None else gallery
    relevant = metrics.relevant_counts(queries.labels, where.labels, itself)
    if not all(torch.isfinite(one.embeddings).all() for one in (queries, where)):
        raise TrainingError("an embedding is not finite: the network has diverged; try a smaller model.lr")
    begun = time.perf_counter()
    prepared = metrics.prepare(where.embeddings, metric)
    fit_s, begun = time.perf_counter() - begun, time.perf_counter()
    neighbours, average_precision, ap_s = _rank(
        queries, prepared, where.labels, itself, max(*k, *knn, int(relevant.max())), metric
    )
    votes = {n: metrics.knn_labels(neighbours, where.labels, n) for n in knn}
    seconds = {"fit_s": fit_s, "predict_s": time.perf_counter() - begun - ap_s}
    some = relevant > 0
    hits, counts = metrics.find_hits(neighbours, queries.labels, where.labels)[some], relevant[some]
    by_query = {f"top_{n}": metrics.top_k(hits, n) for n in k}
    by_query |= {f"precision_{n}": metrics.precision_at_k(hits, n) for n in k if n > 1}
    by_query |= {"r_precision": metrics.r_precision(hits, counts), "map_at_r": metrics.map_at_r(hits, counts)}
    by_query["map"] = average_precision[some]
    figures = {key: float(value.double().mean()) for key, value in by_query.items()}
    for n, labels in votes.items():
        scores = weighted_scores(labels, queries.labels)
        figures |= {f"knn_{n}": scores.pop("top1")} | {f"knn_{n}_{key}": value for key, value in scores.items()}
    figures |= {"left_out": float((~some).sum()), **seconds}
    return Searched(queries, gallery, neighbours, average_precision, figures, by_query)


def _rank(
    queries: Embedded, gallery: Tensor, labels: Tensor, itself: Tensor | None, k: int, metric: metrics.Metric
) -> tuple[Tensor, Tensor, float]:
    """Return the k nearest, AP, and the seconds AP took; both are made of one product of queries and gallery."""
    neighbours = torch.empty(len(queries.labels), k, dtype=torch.int64)
    average_precision = torch.empty(len(neighbours), dtype=torch.float64)
    seconds = 0.0
    for rows, scores in metrics.score_chunks(metrics.prepare(queries.embeddings, metric), gallery, itself, metric):
        neighbours[rows] = nearest(scores, k)[1]
        begun = time.perf_counter()
        average_precision[rows] = metrics.average_precision_of_scores(scores, queries.labels[rows], labels)
        seconds += time.perf_counter() - begun
    return neighbours, average_precision, seconds

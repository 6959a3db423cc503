"""Retrieval figures after any validation or test of any task."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, distributed

from carsfg.errors import InputError, TrainingError
from carsfg.retrieval import metrics
from carsfg.retrieval.gallery import Gallery
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


class FaissRetrieval(Callback):
    """Search every query in the gallery and log `val/retrieval/...` and `test/retrieval/...`.

    The DataModule's protocol decides what is searched in: the other images of the split, or a second loader's. Ranking
    figures are means over the queries that have anything relevant to find, `left_out` counts the others; the vote of
    `knn` is scored on all. `fit_s` and `predict_s` are the seconds it took to build the index, and to search it for all
    queries and let k neighbours vote (once for each k of `knn`). All may be monitored, at the epochs that are searched.
    `searched` keeps what the last search found, on the first process.

    Args:
        k: for top_k and precision_k.
        knn: for the k-NN vote: `knn_10` is its accuracy, `knn_10_f1_weighted` and so on its class-weighted means.
        metric: `cosine` or `euclidean`.
        every_n_epochs: of validation; a test is always searched.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(
        self,
        k: Sequence[int] = (1, 5, 10),
        knn: Sequence[int] = (3, 10),
        metric: metrics.Metric = "cosine",
        every_n_epochs: int = 1,
    ) -> None:
        if not k or not knn or min(*k, *knn, every_n_epochs) < 1:
            raise InputError("FaissRetrieval: k, knn and every_n_epochs must be 1 or more")
        self.k, self.knn, self.metric, self.every_n_epochs = list(k), list(knn), metric, every_n_epochs
        self.searched: Searched | None = None
        self._due = False
        self._parts: tuple[list[Embedded], list[Embedded]] = ([], [])  # of the queries, of the gallery

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a second one, whose figures would be averaged with those of the first."""
        if sum(isinstance(one, FaissRetrieval) for one in trainer.callbacks) > 1:  # type: ignore[attr-defined]
            raise InputError("there are two FaissRetrieval callbacks, which log under the same names: leave one")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, if this epoch is searched."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or trainer.state.fn != TrainerFn.FITTING
        self._start(due and not trainer.sanity_checking)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._start(True)

    def on_validation_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._due:
            own = (outputs["embedding"].detach().float(), batch["label"], batch["index"])
            self._parts[dataloader_idx].append(Embedded(*(one.cpu() for one in own)))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._log(trainer, pl_module, "test")

    def _start(self, due: bool) -> None:
        self.searched, self._due, self._parts = None, due, ([], [])

    def _log(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self._parts[0]:
            return
        queries, *galleries = (gather(parts) for parts in self._parts if parts)
        figures: dict[str, float] = {}
        if trainer.is_global_zero:
            gallery = galleries[0] if galleries else None
            self.searched = search(queries, gallery, self.k, self.knn, self.metric)
            figures = self.searched.figures
        figures = trainer.strategy.broadcast(figures)
        pl_module.log_dict({f"{stage}/retrieval/{key}": value for key, value in figures.items()})
        self._parts = ([], [])


def gather(parts: Sequence[Embedded]) -> Embedded:
    """Put together what all processes kept, each image once, in the order of their indices."""
    own = [torch.cat([getattr(part, name) for part in parts]) for name in ("embeddings", "labels", "indices")]
    everyone: list[Any] = [own]
    if distributed.is_available() and distributed.is_initialized():
        everyone = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyone, own)
    embeddings, labels, indices = (torch.cat(tensors) for tensors in zip(*everyone, strict=True))
    order = indices.argsort(stable=True)
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = indices[order].diff() > 0
    keep = order[first]
    return Embedded(embeddings[keep], labels[keep], indices[keep])


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
    index = Gallery.build(where.embeddings, where.labels, metric=metric)
    built = time.perf_counter()
    _, neighbours = index.search(queries.embeddings, max(*k, *knn, int(relevant.max())), itself)
    votes = {n: metrics.knn_labels(neighbours, where.labels, n) for n in knn}
    seconds = {"fit_s": built - begun, "predict_s": time.perf_counter() - built}
    some = relevant > 0
    hits, counts = metrics.find_hits(neighbours, queries.labels, where.labels)[some], relevant[some]
    by_query = {f"top_{n}": metrics.top_k(hits, n) for n in k}
    by_query |= {f"precision_{n}": metrics.precision_at_k(hits, n) for n in k if n > 1}
    by_query |= {"r_precision": metrics.r_precision(hits, counts), "map_at_r": metrics.map_at_r(hits, counts)}
    arguments = (queries.embeddings, where.embeddings, queries.labels, where.labels, itself, metric)
    average_precision = metrics.average_precision(*arguments)
    by_query["map"] = average_precision[some]
    figures = {key: float(value.double().mean()) for key, value in by_query.items()}
    for n, labels in votes.items():
        scores = weighted_scores(labels, queries.labels)
        figures |= {f"knn_{n}": scores.pop("top1")} | {f"knn_{n}_{key}": value for key, value in scores.items()}
    figures |= {"left_out": float((~some).sum()), **seconds}
    return Searched(queries, gallery, neighbours, average_precision, figures, by_query)

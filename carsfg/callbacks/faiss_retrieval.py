"""FaissRetrieval: retrieval metrics after any validation or test of any task."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import distributed

from carsfg.errors import InputError
from carsfg.retrieval.ranking import EmbeddedImages, RetrievalResult, search
from carsfg.retrieval.similarity import Metric

MAX_NEIGHBOURS = 1000  # per query


class FaissRetrieval(Callback):
    """Search every query in the gallery and log `val/retrieval/...` and `test/retrieval/...`.

    The protocol of the DataModule sets the gallery: the other images of the split, or the images of a second loader.
    Ranking metrics are means over the queries with relevant images; `left_out` counts the other queries. The vote of
    `knn` is scored on all queries. `fit_s` is the time to prepare the gallery, `predict_s` the time to search and vote
    (once for each k of `knn`), in seconds. All metrics may be monitored, at the epochs that are searched. `searched` is
    the result of the last search, on the first process.

    Args:
        k: for top_k and precision_k.
        knn: for the k-NN vote: `knn_10` is its accuracy, `knn_10_f1_weighted`, `knn_10_f1_macro` and so on are
            its means over the classes.
        metric: `cosine` or `euclidean`.
        every_n_epochs: of validation; a test is always searched. A `ModelCheckpoint` that monitors one of these metrics
            needs the same `every_n_epochs`: in the other epochs the metric does not exist, and it raises an error.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(
        self,
        k: Sequence[int] = (1, 5, 10),
        knn: Sequence[int] = (3, 10),
        metric: Metric = "cosine",
        every_n_epochs: int = 1,
    ) -> None:
        if not k or not knn or min(*k, *knn, every_n_epochs) < 1:
            raise InputError("FaissRetrieval: k, knn and every_n_epochs must be 1 or more")
        if max(*k, *knn) > MAX_NEIGHBOURS:
            raise InputError(f"FaissRetrieval: k or knn {max(*k, *knn)} is too large: use {MAX_NEIGHBOURS} or less")
        self.k, self.knn, self.metric, self.every_n_epochs = list(k), list(knn), metric, every_n_epochs
        self.searched: RetrievalResult | None = None
        self._due = False
        self._parts: tuple[list[EmbeddedImages], list[EmbeddedImages]] = ([], [])  # of the queries, of the gallery

    def describe(self) -> dict[str, Any]:
        """Return the arguments that change the metrics."""
        return {"k": self.k, "knn": self.knn, "metric": self.metric}

    def logged_keys(self) -> set[str]:
        """Return the keys of all metrics of a validation."""
        pair = EmbeddedImages(torch.eye(2), torch.zeros(2, dtype=torch.int64), torch.arange(2))
        return {f"val/retrieval/{key}" for key in search(pair, None, self.k, self.knn, self.metric).metrics}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a second FaissRetrieval: its metrics would be averaged with those of the first."""
        if sum(isinstance(one, FaissRetrieval) for one in trainer.callbacks) > 1:  # type: ignore[attr-defined]
            raise InputError("there are two FaissRetrieval callbacks, which log under the same names: leave one")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last search, and collect embeddings if this epoch is searched."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or trainer.state.fn != TrainerFn.FITTING
        self._start(due and not trainer.sanity_checking)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last search, and collect embeddings."""
        self._start(True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch's embeddings."""
        if self._due:
            own = (outputs["embedding"].detach().float(), batch["label"], batch["index"])
            self._parts[dataloader_idx].append(EmbeddedImages(*(one.cpu() for one in own)))

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
        values: dict[str, float] = {}
        if trainer.is_global_zero:
            gallery = galleries[0] if galleries else None
            self.searched = search(queries, gallery, self.k, self.knn, self.metric)
            values = self.searched.metrics
        values = trainer.strategy.broadcast(values)
        pl_module.log_dict({f"{stage}/retrieval/{key}": value for key, value in values.items()})
        self._parts = ([], [])


def gather(parts: Sequence[EmbeddedImages]) -> EmbeddedImages:
    """Put together what all processes kept, each image once, in the order of their indices.

    Args:
        parts: batches of this process, in any order.
    """
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
    return EmbeddedImages(embeddings[keep], labels[keep], indices[keep])

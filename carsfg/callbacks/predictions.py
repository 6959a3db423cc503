"""A table of the predictions of a test: what was predicted for each image, and which images are nearest."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from carsfg.callbacks.faiss_retrieval import FaissRetrieval, gather
from carsfg.callbacks.observer import Observer
from carsfg.data.datamodule import CarsDataModule
from carsfg.errors import InputError
from carsfg.retrieval.ranking import EmbeddedImages, RetrievalResult
from carsfg.retrieval.similarity import Metric
from carsfg.search.calibration import calibrate
from carsfg.search.gallery import Gallery
from carsfg.search.predictions import (
    PREDICTIONS_FILE,
    Columns,
    class_columns,
    neighbour_columns,
    score_columns,
    write_table,
)
from carsfg.tasks.base import CarsTask


class WritePredictions(Observer):
    """Write `predictions.csv` to the run's folder after a test, a row per image in the order of the test split.

    Columns: `path` (below the data's root), `label`; `top1` to `top5` with `probability1` to `probability5`, for a
    network with a scored head; with FaissRetrieval also `vote` (of its largest k-NN), `nearest` (path of the nearest
    image), `nearest_label`, `nearest_score` (cosine, or negative Euclidean distance) and `known_p` (the p-value of that
    score, calibrated on the gallery's own images; see `carsfg.search.calibration`). Only for data that knows its files,
    which is every `carsfg.CarsDataModule`.
    """

    def __init__(self) -> None:
        self._parts: list[EmbeddedImages] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a FaissRetrieval that comes later: its neighbours would not be known when the table is written."""
        kinds = [type(one) for one in trainer.callbacks]  # type: ignore[attr-defined]
        if FaissRetrieval in kinds and kinds.index(FaissRetrieval) > kinds.index(type(self)):
            raise InputError("FaissRetrieval comes after WritePredictions, which needs it: put it first in callbacks")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget earlier predictions."""
        self._parts = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the logits of a batch of the split; the other loader is a retrieval gallery."""
        if dataloader_idx == 0 and isinstance(getattr(trainer, "datamodule", None), CarsDataModule):
            logits = outputs["logits"].detach().float().cpu()
            self._parts.append(EmbeddedImages(logits, batch["label"].cpu(), batch["index"].cpu()))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table, before the metrics are logged: a resumed run is tested unless its metrics are there."""
        folder = trainer.log_dir  # a collective call: all processes need it
        if not self._parts or not folder or not trainer.loggers:
            return
        predicted = gather(self._parts)
        self._parts = []
        if trainer.is_global_zero:
            retrieval = next((one for one in trainer.callbacks if isinstance(one, FaissRetrieval)), None)  # type: ignore[attr-defined]
            table = _Table(trainer.datamodule, pl_module, predicted)  # type: ignore[attr-defined]
            write_table(Path(folder) / PREDICTIONS_FILE, table.head() | table.nearest(retrieval))


class _Table:
    """Columns of the table by name, a value per image."""

    def __init__(self, data: CarsDataModule, task: LightningModule, predicted: EmbeddedImages) -> None:
        assert isinstance(task, CarsTask)  # noqa: S101
        self.data, self.task, self.predicted = data, task, predicted
        self.rows = data.splits.test[predicted.indices.numpy()]

    def head(self) -> Columns:
        names = self.data.all_class_names
        columns: Columns = {
            "path": [self.data.image_name(row) for row in self.rows.tolist()],
            "label": [names[label] for label in self.predicted.labels.tolist()],
        }
        scored = self.task.scores_head
        return columns | (class_columns(self.predicted.embeddings, self.task.class_names) if scored else {})

    def nearest(self, retrieval: FaissRetrieval | None) -> Columns:
        searched = retrieval.searched if retrieval is not None else None
        if retrieval is None or searched is None:
            return {}
        where = searched.queries if searched.gallery is None else searched.gallery
        gallery_rows = self.data.gallery_rows("test") if searched.gallery is not None else self.data.splits.test
        assert gallery_rows is not None  # noqa: S101
        names, rows = self.data.all_class_names, gallery_rows[where.indices.numpy()]
        neighbours = searched.neighbours[:, : max(retrieval.knn)]
        columns = neighbour_columns(neighbours, where.labels, names, lambda place: self.data.image_name(rows[place]))
        return columns | _scores(searched, where, names, retrieval.metric)


def _scores(searched: RetrievalResult, where: EmbeddedImages, names: list[str], metric: Metric) -> Columns:
    """Return the score of each query's nearest image, and its p-value among those of the gallery's own images."""
    files = [str(index) for index in where.indices.tolist()]
    gallery = Gallery.build(where.embeddings, where.labels, files, names, metric)
    calibration = calibrate(gallery, where.embeddings, itself=True)
    itself = torch.arange(len(where.labels)) if searched.gallery is None else None
    return score_columns(gallery.search(searched.queries.embeddings, 1, itself)[0][:, 0], calibration)

"""A table of the predictions of a test: what was predicted for each image, and which images are nearest."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from carsfg.callbacks.faiss_retrieval import FaissRetrieval, gather
from carsfg.callbacks.observer import Observer
from carsfg.data.datamodule import CarsDataModule
from carsfg.retrieval.metrics import knn_labels
from carsfg.retrieval.ranking import EmbeddedImages, RetrievalResult
from carsfg.retrieval.similarity import Metric
from carsfg.search.calibration import calibrate, p_value
from carsfg.search.gallery import Gallery
from carsfg.tasks.base import CarsTask

PREDICTIONS_FILE = "predictions.csv"
TOP = 5
DIGITS = 4


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

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table."""
        folder = trainer.log_dir  # a collective call: all processes need it
        if not self._parts or not folder or not trainer.loggers:
            return
        predicted = gather(self._parts)
        self._parts = []
        if trainer.is_global_zero:
            retrieval = next((one for one in trainer.callbacks if isinstance(one, FaissRetrieval)), None)  # type: ignore[attr-defined]
            columns = _Columns(trainer.datamodule, pl_module, predicted)  # type: ignore[attr-defined]
            _write(Path(folder) / PREDICTIONS_FILE, columns.head() | columns.nearest(retrieval))


class _Columns:
    """Columns of the table by name, a value per image."""

    def __init__(self, data: CarsDataModule, task: LightningModule, predicted: EmbeddedImages) -> None:
        assert isinstance(task, CarsTask)  # noqa: S101
        self.data, self.task, self.predicted = data, task, predicted
        self.rows = data.splits.test[predicted.indices.numpy()]

    def head(self) -> dict[str, list[Any]]:
        names = self.data.all_class_names
        columns: dict[str, list[Any]] = {
            "path": [self.data.image_name(row) for row in self.rows.tolist()],
            "label": [names[label] for label in self.predicted.labels.tolist()],
        }
        if self.task.scores_head:
            logits = self.predicted.embeddings
            probabilities, classes = logits.softmax(1).topk(min(TOP, logits.shape[1]))
            for place in range(classes.shape[1]):
                columns[f"top{place + 1}"] = [self.task.class_names[label] for label in classes[:, place].tolist()]
                columns[f"probability{place + 1}"] = _rounded(probabilities[:, place])
        return columns

    def nearest(self, retrieval: FaissRetrieval | None) -> dict[str, list[Any]]:
        searched = retrieval.searched if retrieval is not None else None
        if retrieval is None or searched is None:
            return {}
        where = searched.queries if searched.gallery is None else searched.gallery
        gallery_rows = self.data.gallery_rows("test") if searched.gallery is not None else self.data.splits.test
        assert gallery_rows is not None  # noqa: S101
        names, first = self.data.all_class_names, searched.neighbours[:, 0]
        rows = gallery_rows[where.indices[first].numpy()]
        votes = knn_labels(searched.neighbours, where.labels, max(retrieval.knn)).tolist()
        found = {
            "vote": [names[label] if label >= 0 else "" for label in votes],
            "nearest": [self.data.image_name(row) if at >= 0 else "" for row, at in zip(rows, first, strict=True)],
            "nearest_label": [names[where.labels[at]] if at >= 0 else "" for at in first.tolist()],
        }
        known = _known(searched, where, names, retrieval.metric)
        return found | {name: values for name, values in known.items() if values}


def _known(searched: RetrievalResult, where: EmbeddedImages, names: list[str], metric: Metric) -> dict[str, list[Any]]:
    """Return the score of each query's nearest image, and its p-value among those of the gallery's own images."""
    files = [str(index) for index in where.indices.tolist()]
    gallery = Gallery.build(where.embeddings, where.labels, files, names, metric)
    calibration = calibrate(gallery, where.embeddings, itself=True)
    itself = torch.arange(len(where.labels)) if searched.gallery is None else None
    scores = gallery.search(searched.queries.embeddings, 1, itself)[0][:, 0]
    return {
        "nearest_score": _rounded(scores),
        "known_p": [round(p_value(score, calibration), DIGITS) for score in scores.tolist()] if calibration else [],
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def _write(file: Path, columns: dict[str, list[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))

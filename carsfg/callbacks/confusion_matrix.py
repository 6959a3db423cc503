"""A confusion matrix that is readable with 196 classes, and the accuracy of each class."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from carsfg.callbacks.observer import Observer
from carsfg.files import replacing
from carsfg.plots.confusion import confusion_figure
from carsfg.plots.log_figure import log_figure, takes_figures
from carsfg.tasks.base import CarsTask

PER_CLASS = ("class", "images", "correct", "accuracy")  # columns of per_class.csv, before those of attributes


class ConfusionMatrix(Observer):
    """Plot the confusion matrix of the last validation and of the test; classes are grouped by make if the data has it.

    Which validation is the last is known when training ends, so all of them are counted. A test also writes two tables
    to the run's folder: `per_class.csv` (class, images, correct, accuracy = correct / images, and the attributes of the
    class, such as make) and `confusions.csv` (class, predicted, images; all pairs with at least one image).
    Without a logger that takes figures, none is plotted.

    Args:
        every_n_epochs: also plot after every n-th epoch; 0 for the last validation only.
    """

    def __init__(self, every_n_epochs: int = 0) -> None:
        self.every_n_epochs = every_n_epochs
        self._counts: MulticlassConfusionMatrix | None = None
        self._pending: Tensor | None = None  # counts of the latest validation, until they are plotted

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting, except in the sanity check before training."""
        self._start(pl_module, not trainer.sanity_checking)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        self._start(pl_module, True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch of the split; the other loader is a retrieval gallery."""
        if self._counts is not None and dataloader_idx == 0:
            self._counts.update(outputs["logits"], batch["label"])

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the counts, and plot them in every n-th epoch."""
        if self._counts is None:
            return
        self._pending = self._total()
        due = self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due or trainer.state.fn == TrainerFn.VALIDATING:
            self._draw_pending(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the last validation, unless that has been done."""
        self._draw_pending(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plot the test, and write its tables."""
        if self._counts is None:
            return
        counts = self._total()
        folder = trainer.log_dir  # a collective call: all processes need it
        if trainer.is_global_zero and folder and trainer.loggers:  # without a logger, the folder is the working folder
            _write_tables(Path(folder), counts, pl_module.hparams["class_names"], _attributes(trainer))
        _draw(trainer, pl_module, counts, "test")

    def _start(self, task: LightningModule, due: bool) -> None:
        assert isinstance(task, CarsTask)  # noqa: S101
        self._counts = None
        if due and task.scores_head:
            self._counts = MulticlassConfusionMatrix(len(task.hparams["class_names"])).to(task.device)

    def _total(self) -> Tensor:
        """Return the counts of all processes, int64 (C, C), and stop counting."""
        assert self._counts is not None  # noqa: S101
        counts = self._counts.compute().cpu().to(torch.int64)
        self._counts = None
        return counts

    def _draw_pending(self, trainer: Trainer, task: LightningModule) -> None:
        if self._pending is not None:
            _draw(trainer, task, self._pending, "val")
        self._pending = None


def _draw(trainer: Trainer, task: LightningModule, counts: Tensor, split: str) -> None:
    if trainer.is_global_zero and takes_figures(trainer):
        figure = confusion_figure(counts, task.hparams["class_names"], split, _attributes(trainer).get("make"))
        log_figure(trainer, f"{split}/confusion_matrix", figure)


def _attributes(trainer: Trainer) -> Mapping[str, Sequence[str]]:
    """Return the attributes of the classes; none for a DataModule that is not carsfg's."""
    found: Mapping[str, Sequence[str]] = getattr(getattr(trainer, "datamodule", None), "class_attributes", {})
    return found


def _write_tables(folder: Path, counts: Tensor, names: Sequence[str], attributes: Mapping[str, Sequence[str]]) -> None:
    further = [name for name in attributes if name not in PER_CLASS]
    rows: list[list[Any]] = [[*PER_CLASS, *further]]
    counted = zip(names, counts.sum(1).tolist(), counts.diag().tolist(), strict=True)
    for label, (name, images, correct) in enumerate(counted):
        accuracy = correct / images if images else ""
        rows.append([name, images, correct, accuracy, *(attributes[one][label] for one in further)])
    _write(folder / "per_class.csv", rows)
    pairs = [(truth, predicted, int(counts[truth, predicted])) for truth, predicted in counts.nonzero().tolist()]
    listed = [[names[truth], names[predicted], images] for truth, predicted, images in pairs]
    _write(folder / "confusions.csv", [["class", "predicted", "images"], *listed])


def _write(path: Path, rows: list[list[Any]]) -> None:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(rows)

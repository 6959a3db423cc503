"""A confusion matrix that a person can read at 196 classes, in TensorBoard, and the accuracy of each class."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from carsfg.plots.confusion import confusion_figure
from carsfg.tasks.base import CarsTask


class ConfusionMatrix(Callback):
    """Draw the confusion matrix of the last validation and of the test, classes grouped by make.

    A test writes two tables into the run's folder as well: `per_class.csv` (class, images, correct, accuracy = correct
    / images) and `confusions.csv` (class, predicted, images: all pairs that have any).

    Args:
        every_n_epochs: draw it after every so many epochs as well; 0 for the last alone.
    """

    def __init__(self, every_n_epochs: int = 0) -> None:
        self.every_n_epochs = every_n_epochs
        self._counts: MulticlassConfusionMatrix | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting, if this epoch is drawn."""
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs
        due = epoch == last or (self.every_n_epochs > 0 and epoch % self.every_n_epochs == 0)
        due = due or trainer.state.fn == TrainerFn.VALIDATING
        self._start(pl_module, due and not trainer.sanity_checking)

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
        """Count a batch."""
        if self._counts is not None and dataloader_idx == 0:
            self._counts.update(outputs["logits"], batch["label"])

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw."""
        self._draw(trainer, pl_module, "test")

    def _start(self, task: LightningModule, due: bool) -> None:
        assert isinstance(task, CarsTask)  # noqa: S101
        self._counts = None
        if due and task.scores_head:
            self._counts = MulticlassConfusionMatrix(len(task.hparams["class_names"])).to(task.device)

    def _draw(self, trainer: Trainer, task: LightningModule, split: str) -> None:
        if self._counts is None:
            return
        counts = self._counts.compute().cpu().to(torch.int64)  # adds up all processes
        self._counts = None
        folder = trainer.log_dir  # asks all processes
        if not trainer.is_global_zero:
            return
        if split == "test" and folder and trainer.loggers:  # else the folder is the working folder
            _write_tables(Path(folder), counts, task.hparams["class_names"])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                figure = confusion_figure(counts, task.hparams["class_names"], split)
                logger.experiment.add_figure(f"{split}/confusion_matrix", figure, trainer.global_step, close=False)


def _write_tables(folder: Path, counts: Tensor, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "per_class.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "images", "correct", "accuracy"])
        for name, images, correct in zip(names, counts.sum(1).tolist(), counts.diag().tolist(), strict=True):
            writer.writerow([name, images, correct, correct / images if images else ""])
    with (folder / "confusions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "predicted", "images"])
        for truth, predicted in counts.nonzero().tolist():
            writer.writerow([names[truth], names[predicted], int(counts[truth, predicted])])

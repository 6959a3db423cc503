from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import carsfg.callbacks.confusion_matrix as module
from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.plots.confusion import confusion_figure
from carsfg.tasks.base import CarsTask
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

SQUEEZE = {"backbone": "squeezenet1_1", "freeze": "backbone"}
ENDS: list[dict[str, Any]] = [
    {"max_epochs": 3, "check_val_every_n_epoch": 2},  # after an epoch without validation
    {"max_epochs": 9},  # by early stopping
    {"max_epochs": 9, "max_steps": 10},
]


def images(logger: TensorBoardLogger) -> dict[str, list[int]]:
    """The steps at which each image was logged."""
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0})
    events.Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


@pytest.mark.parametrize(("every", "epochs"), [(0, [3]), (2, [2, 3])])
def test_figures_in_tensorboard(
    every: int, epochs: list[int], make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = make_trainer(max_epochs=3, callbacks=[ConfusionMatrix(every)], logger=logger, num_sanity_val_steps=1)
    task, cars = make_task(**SQUEEZE), make_cars()
    trainer.fit(task, cars)
    trainer.test(task, cars, verbose=False)
    logger.finalize("success")
    steps = [int(trainer.num_training_batches) * epoch for epoch in epochs]
    assert images(logger) == {"val/confusion_matrix": steps, "test/confusion_matrix": [trainer.global_step]}


def test_validation_alone_is_drawn(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = make_trainer(callbacks=[ConfusionMatrix()], logger=logger, max_epochs=9)
    trainer.validate(make_task(**SQUEEZE), make_cars(), verbose=False)
    logger.finalize("success")
    assert images(logger) == {"val/confusion_matrix": [0]}


def test_counts_are_true_by_predicted(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[list[int]], list[str]]] = []

    def draw(counts: Tensor, names: list[str], split: str, groups: list[str]) -> object:
        drawn.append((counts.tolist(), names))
        assert groups == ["Meridian", "Dunmore", "Aurora", "Kestrel"]
        return confusion_figure(counts, names, split, groups)

    monkeypatch.setattr(module, "confusion_figure", draw)
    task = make_task(**SQUEEZE)
    task.head.weight.data.zero_()
    task.head.bias.data[2] = 1.0  # everything is taken for class 2
    trainer = make_trainer(callbacks=[ConfusionMatrix()], logger=TensorBoardLogger(tmp_path))
    trainer.test(task, make_cars(retrieval="closed_train_gallery"), verbose=False)  # the gallery is not counted
    assert drawn == [([[0, 0, 5, 0]] * 4, NAMES)]
    folder = Path(trainer.log_dir or "")
    assert (folder / "confusions.csv").read_text().split("\n")[:2] == [
        "class,predicted,images",
        f"{NAMES[0]},{NAMES[2]},5",
    ]
    assert (folder / "per_class.csv").read_text().splitlines()[:4:3] == [
        "class,images,correct,accuracy,make,body,year",
        f"{NAMES[2]},5,5,1.0,Aurora,Coupe,2002",
    ]


def test_nothing_is_drawn_for_unseen_classes(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger, cars = TensorBoardLogger(tmp_path), make_cars(protocol="zero_shot")
    trainer = make_trainer(callbacks=[ConfusionMatrix()], logger=logger)
    trainer.test(make_task(**SQUEEZE, class_names=cars.class_names), cars, verbose=False)
    logger.finalize("success")
    assert images(logger) == {}


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_the_last_validation_is_drawn_whatever_ends_the_run(
    ends: int, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger, arguments = TensorBoardLogger(tmp_path), dict(ENDS[ends])
    stop = [EarlyStopping("val/loss", min_delta=1e9, patience=1)] if ends == 1 else []
    trainer = make_trainer(callbacks=[ConfusionMatrix(), *stop], logger=logger, num_sanity_val_steps=1, **arguments)
    trainer.fit(make_task(**SQUEEZE), make_cars())
    logger.finalize("success")
    assert trainer.global_step == {0: 15, 1: 10, 2: 10}[ends]
    assert images(logger) == {"val/confusion_matrix": [trainer.global_step]}


class Label(Callback):
    """Lets the head give one label only, another one in each epoch."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, CarsTask)
        pl_module.head.weight.data.zero_()
        pl_module.head.bias.data = torch.eye(4)[trainer.current_epoch]


def test_the_counts_are_those_of_the_last_validation(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[list[int]]] = []

    def draw(counts: Tensor, names: list[str], split: str, groups: list[str]) -> object:
        drawn.append(counts.tolist())
        return confusion_figure(counts, names, split, groups)

    monkeypatch.setattr(module, "confusion_figure", draw)
    trainer = make_trainer(
        callbacks=[Label(), ConfusionMatrix()],
        logger=TensorBoardLogger(tmp_path),
        max_epochs=3,
        check_val_every_n_epoch=2,
        limit_train_batches=1,
    )
    trainer.fit(make_task(**SQUEEZE), make_cars())
    assert drawn == [[[0, 1, 0, 0]] * 4]  # of the second epoch: one image per class in the hold-out


def test_nothing_is_drawn_for_loggers_without_figures(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "confusion_figure", None)
    trainer = make_trainer(callbacks=[ConfusionMatrix(1)], logger=CSVLogger(tmp_path))
    task, cars = make_task(**SQUEEZE), make_cars()
    trainer.fit(task, cars)
    trainer.test(task, cars, verbose=False)
    assert (Path(trainer.log_dir or "") / "per_class.csv").is_file()  # the tables need no figures

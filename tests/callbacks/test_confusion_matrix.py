from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import carsfg.callbacks.confusion_matrix as module
from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.plots.confusion import confusion_figure
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

SQUEEZE = {"backbone": "squeezenet1_1", "freeze": True}


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

    def draw(counts: Tensor, names: list[str], split: str) -> object:
        drawn.append((counts.tolist(), names))
        return confusion_figure(counts, names, split)

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
    assert (folder / "per_class.csv").read_text().splitlines()[3] == f"{NAMES[2]},5,5,1.0"


def test_nothing_is_drawn_for_unseen_classes(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger, cars = TensorBoardLogger(tmp_path), make_cars(protocol="zero_shot")
    trainer = make_trainer(callbacks=[ConfusionMatrix()], logger=logger)
    trainer.test(make_task(**SQUEEZE, class_names=cars.class_names), cars, verbose=False)
    logger.finalize("success")
    assert images(logger) == {}

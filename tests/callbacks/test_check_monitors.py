"""Unknown monitors are named before the first epoch; those of own classes after it."""

from typing import Any

import pytest
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from torch import Tensor

from carsfg.callbacks import CheckMonitors, ProgressiveResolution, Size
from carsfg.callbacks.check_monitors import find_unknown, monitor_mistake
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.errors import InputError
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

RUN: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 1, "enable_checkpointing": True}


class OwnTask(CarClassifier):
    """A task that logs a part of its loss under a name of its own."""

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, logits, _ = super().loss(embedding, labels)
        return loss, logits, {"own": loss}


class Begun(Callback):
    """Fails the test if an epoch begins."""

    def on_train_epoch_start(self, *_: Any) -> None:
        pytest.fail("an epoch has begun")

    def logged_keys(self) -> set[str]:
        return {"mine"}


def test_the_declared_keys_are_those_that_are_logged(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    own = [FaissRetrieval(k=[1, 2], knn=[3]), ProgressiveResolution([Size(32, 1)])]
    trainer, task = make_trainer(callbacks=own, **RUN), make_task(backbone="squeezenet1_1")
    trainer.fit(task, make_cars())
    declared = task.logged_keys() | own[0].logged_keys() | own[1].logged_keys()  # type: ignore[attr-defined]
    assert declared == set(trainer.callback_metrics)


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (
            ModelCheckpoint(monitor="val/topp"),
            r"ModelCheckpoint monitors 'val/topp', .* \(did you mean 'val/top\d'\?\)",
        ),
        (
            EarlyStopping(monitor="val/retrieval/map"),
            r"EarlyStopping monitors .*val/retrieval/map', which is not logged",
        ),
        (ModelCheckpoint(monitor="something"), r"which is not logged; use one of loss, mine, train/loss, .*val/year"),
    ],
)
def test_before_the_first_epoch(
    callback: Callback, said: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(callbacks=[CheckMonitors(), Begun(), callback], **RUN)
    with pytest.raises(InputError, match=said):
        trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars())


def test_a_scheduler_that_watches_nothing(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    watched = {"scheduler": "ReduceLROnPlateau", "scheduler_args": {"monitor": "val/los"}}
    trainer = make_trainer(callbacks=[CheckMonitors(), Begun()], **RUN)
    with pytest.raises(InputError, match=r"ReduceLROnPlateau monitors 'val/los', .* \(did you mean 'val/loss'\?\)"):
        trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone", **watched), make_cars())


@pytest.mark.parametrize(
    "callback",
    [
        ModelCheckpoint(monitor="val/retrieval/map_at_r"),
        ModelCheckpoint(monitor="val_top1"),
        EarlyStopping(monitor="train/top1"),
        EarlyStopping(monitor="nothing", strict=False),
    ],
)
def test_what_is_logged_may_be_monitored(
    callback: Callback, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(callbacks=[CheckMonitors(), FaissRetrieval(), callback], **RUN)
    trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars())
    assert trainer.current_epoch == 1


def test_learning_rates_may_be_monitored(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[ModelCheckpoint(monitor="lr-Adam"), LearningRateMonitor()], logger=True, **RUN)
    assert find_unknown(trainer, set()) == ""


def test_a_checkpoint_may_count_epochs_and_steps(make_trainer: MakeTrainer) -> None:
    for monitor in ("epoch", "step"):
        assert find_unknown(make_trainer(callbacks=[ModelCheckpoint(monitor=monitor)], **RUN), set()) == ""
    stopping = make_trainer(callbacks=[EarlyStopping(monitor="epoch")], **RUN)
    assert find_unknown(stopping, {"val/loss"}).startswith("EarlyStopping monitors 'epoch'")


@pytest.mark.parametrize(("monitor", "known"), [("train/own", True), ("train/owl", False)])
def test_the_keys_of_own_tasks_show_in_the_first_epoch(
    monitor: str, known: bool, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = OwnTask(class_names=NAMES, backbone="squeezenet1_1", weights=None, freeze="backbone", image_size=32)
    stopping = EarlyStopping(monitor=monitor)
    trainer = make_trainer(callbacks=[CheckMonitors(), stopping], max_epochs=3, **RUN)
    if known:
        trainer.fit(task, make_cars())
        return
    with pytest.raises(RuntimeError) as error:
        trainer.fit(task, make_cars())
    assert trainer.current_epoch == 0
    said = "EarlyStopping monitors 'train/owl', which is not logged (did you mean 'train/own'?)"
    assert str(monitor_mistake(trainer, error.value)) == said
    assert monitor_mistake(trainer, RuntimeError("another error")) is None

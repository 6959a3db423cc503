"""When checkpoints are saved within an epoch, and when not."""

import time
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from carsfg.callbacks.save_within_epochs import SaveWithinEpochs
from carsfg.callbacks.whole_checkpoints import WholeCheckpoints
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer


class Watch(Callback):
    """Lists the checkpoints within epochs before each batch, and lets time pass."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.seen = seconds, [[""]]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        paths = sorted(Path(str(trainer.log_dir)).glob("checkpoints/within-epoch*.ckpt"))
        self.seen.append([path.stem.removeprefix("within-epoch=") for path in paths])
        time.sleep(self.seconds)


@pytest.fixture
def seen(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path) -> Any:
    """Trains for an epoch of 5 batches; gives the checkpoints that there were before each of them."""

    def train(
        minutes: float = 0, seconds: float = 0, data: Any = None, task: Any = None, **kwargs: Any
    ) -> list[list[str]]:
        watch, logger = Watch(seconds), CSVLogger(tmp_path)
        callbacks = [watch, SaveWithinEpochs(minutes)]
        settings = {"callbacks": callbacks, "logger": logger, "enable_checkpointing": True, **kwargs}
        trainer = make_trainer(**settings)
        trainer.fit(task or make_task(), data or make_cars())
        assert not list(tmp_path.rglob("within-epoch*"))
        assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints)
        return watch.seen[1:]

    return train


def test_the_newest_two_are_kept(seen: Any) -> None:
    expected = [[], ["0-step=1"], ["0-step=1", "0-step=2"], ["0-step=2", "0-step=3"], ["0-step=3", "0-step=4"]]
    assert seen() == expected
    assert seen(max_epochs=2)[5] == ["0-step=3", "0-step=4"]  # the end of an epoch is saved by ModelCheckpoint


def test_the_time_between_two(seen: Any) -> None:
    saved = seen(minutes=0.7 / 60, seconds=0.5)
    assert saved[1] == []
    assert saved[2] == ["0-step=2"]
    assert saved[3] == ["0-step=2"]  # the clock began again
    assert seen(minutes=15) == [[]] * 5


@pytest.mark.parametrize("minutes", [-1, float("nan"), float("inf")])
def test_times_that_do_not_exist(minutes: float) -> None:
    with pytest.raises(InputError, match=r"minutes .* must be 0 or more"):
        SaveWithinEpochs(minutes)


def test_whole_steps_alone(seen: Any) -> None:
    assert seen(accumulate_grad_batches=2)[2:] == [["0-step=1"], ["0-step=1"], ["0-step=1", "0-step=2"]]


@pytest.mark.parametrize("every", [2, 0.4])
@pytest.mark.parametrize("epochs", [1, None])
def test_a_validation_that_follows_is_not_skipped(every: float, epochs: int | None, seen: Any) -> None:
    settings = {"val_check_interval": every if epochs else 2, "check_val_every_n_epoch": epochs}
    assert seen(**settings)[2:] == [["0-step=1"], ["0-step=1", "0-step=3"], ["0-step=1", "0-step=3"]]


def test_a_plateau_scheduler_within_epochs(make_task: MakeTask, seen: Any) -> None:
    plateau = {"scheduler": "ReduceLROnPlateau", "scheduler_args": {"monitor": "loss"}, "scheduler_interval": "step"}
    assert seen(task=make_task(**plateau)) == [[]] * 5
    assert seen(task=make_task(**{**plateau, "scheduler_interval": "epoch"}))[1] == ["0-step=1"]


def test_other_data_is_saved_after_epochs_only(make_cars: MakeCars, seen: Any) -> None:
    cars = make_cars()
    cars.prepare_data()
    cars.setup("fit")

    class Foreign(LightningDataModule):
        class_names = cars.class_names
        train_dataloader = cars.train_dataloader

    assert seen(data=Foreign()) == [[]] * 5

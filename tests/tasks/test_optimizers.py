"""Schedules that last as long as the run does."""

from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from tests.conftest import MakeCars, MakeTask, MakeTrainer


class Rates(Callback):
    """Notes the learning rate of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def rates(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, **kwargs: Any) -> list[float]:
    """The rate of each of 4 epochs' 2 steps, with 1.0 as the task's own."""
    watch = Rates()
    trainer = make_trainer(max_epochs=4, limit_train_batches=2, limit_val_batches=0, callbacks=[watch])
    trainer.fit(make_task(backbone="squeezenet1_1", freeze=True, optimizer="SGD", lr=1.0, **kwargs), make_cars())
    return watch.seen


def test_one_cycle_lasts_the_whole_run(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    linear = {"pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 4.0, "final_div_factor": 1.0}
    seen = rates(make_task, make_cars, make_trainer, scheduler="OneCycleLR", scheduler_args=linear)
    # up from 1 / 4 to the rate in 3 of the 7 steps between 8 points, and down again in 4
    assert seen == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.8125, 0.625, 0.4375, 0.25])


def test_one_cycle_as_told(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    told = {"max_lr": 2.0, "total_steps": 100}
    seen = rates(make_task, make_cars, make_trainer, scheduler="OneCycleLR", scheduler_args=told)
    assert seen[0] == pytest.approx(2.0 / 25)
    assert max(seen) < 1.0


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("epoch", [1, 1, 0.853553, 0.853553, 0.5, 0.5, 0.146447, 0.146447]),
        ("step", [1, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806]),
    ],
)
def test_a_cosine_over_the_whole_run(
    interval: str, expected: list[float], make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    """(1 + cos(pi t / T)) / 2."""
    cosine = {"scheduler": "CosineAnnealingLR", "scheduler_interval": interval}
    assert rates(make_task, make_cars, make_trainer, **cosine) == pytest.approx(expected, abs=1e-5)

"""Schedules that last as long as the run does."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from carsfg.errors import InputError
from carsfg.tasks.optimizers import make_scheduler
from tests.conftest import MakeCars, MakeTask, MakeTrainer

SMALL: dict[str, Any] = {"backbone": "squeezenet1_1", "freeze": "backbone", "optimizer": "SGD", "lr": 1.0}


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
    trainer.fit(make_task(**SMALL, **kwargs), make_cars())
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


@pytest.mark.parametrize(("max_epochs", "max_steps", "epochs"), [(100, 6, 3), (-1, 6, 3), (100, 5, 3), (3, 100, 3)])
def test_a_cosine_by_epoch_ends_with_the_steps(
    max_epochs: int, max_steps: int, epochs: int, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    watch = Rates()
    trainer = make_trainer(
        max_epochs=max_epochs, max_steps=max_steps, limit_train_batches=2, limit_val_batches=0, callbacks=[watch]
    )
    trainer.fit(make_task(**SMALL, scheduler="CosineAnnealingLR"), make_cars())
    expected = [(1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in (0, 0, 1, 1, 2, 2)]
    assert watch.seen == pytest.approx(expected[: min(max_steps, 6)])


RISE_AND_FALL = [1 / 3, 2 / 3, 1, 0.933013, 0.75, 0.5, 0.25, 0.066987]  # 2 steps up, (1 + cos(pi t / 6)) / 2 down


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"warmup_steps": 2}, RISE_AND_FALL),
        ({"warmup_share": 0.25}, RISE_AND_FALL),
        ({"warmup_share": 0.3}, RISE_AND_FALL),  # 2.4 of the 8 steps
        ({"warmup_epochs": 1}, RISE_AND_FALL),
        ({}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),  # 5 % of 8 steps is none
        ({"warmup_steps": 0}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
        ({"warmup_steps": 7}, [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1]),
    ],
)
def test_warm_up_and_cosine(
    arguments: dict[str, Any],
    expected: list[float],
    make_task: MakeTask,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
) -> None:
    """By the step, whatever the interval says."""
    seen = rates(make_task, make_cars, make_trainer, scheduler="warmup_cosine", scheduler_args=arguments)
    assert seen == pytest.approx(expected, abs=1e-5)


def test_the_cosine_ends_at_zero_with_accumulated_batches(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(max_epochs=2, limit_train_batches=3, limit_val_batches=0, accumulate_grad_batches=2)
    task = make_task(**SMALL, scheduler="warmup_cosine", scheduler_args={"warmup_epochs": 1})
    trainer.fit(task, make_cars())
    assert trainer.global_step == 4
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-7)
    assert trainer.lr_scheduler_configs[0].scheduler.state_dict()["_milestones"] == [2]  # 1 epoch of 2 steps


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"warmup_epochs": 4}, "warmup_epochs 4 is a warm-up of 8 steps, the run lasts 8: shorten it"),
        ({"warmup_share": 1.0}, r"warmup_share 1\.0 is a warm-up of 8 steps"),
        ({"warmup": 1}, r"is \{'warmup': 1\}: give one of warmup_share, warmup_steps, warmup_epochs, 0 or more"),
        ({"warmup_steps": 1, "warmup_share": 0.1}, "give one of warmup_share"),
        ({"warmup_steps": -1}, "give one of warmup_share"),
        ({"warmup_steps": "two"}, "give one of warmup_share"),
    ],
)
def test_a_warm_up_that_does_not_fit(
    arguments: dict[str, Any], words: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    with pytest.raises(InputError, match=words):
        rates(make_task, make_cars, make_trainer, scheduler="warmup_cosine", scheduler_args=arguments)


def test_a_trial_run_is_shorter_than_any_warm_up(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(**SMALL, scheduler="warmup_cosine", scheduler_args={"warmup_epochs": 2})
    trainer = make_trainer(fast_dev_run=1)
    trainer.fit(task, make_cars())
    assert trainer.global_step == 1
    with pytest.raises(InputError, match="warmup_cosine lasts as long as the run: it needs a trainer"):
        make_task(**SMALL, scheduler="warmup_cosine").configure_optimizers()


@pytest.mark.parametrize("warmup_steps", [0, 2])
def test_a_resumed_warm_up_and_cosine(
    warmup_steps: int, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """It goes on where it was; a run of another length is refused."""
    schedule = {"scheduler": "warmup_cosine", "scheduler_args": {"warmup_steps": warmup_steps}}
    whole = rates(make_task, make_cars, make_trainer, **schedule)
    few: dict[str, Any] = {"limit_train_batches": 2, "limit_val_batches": 0}

    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.should_stop = True

    first, watch = make_trainer(max_epochs=4, callbacks=[Stop()], **few), Rates()
    first.fit(make_task(**SMALL, **schedule), make_cars())
    first.save_checkpoint(tmp_path / "first.ckpt")
    path = str(tmp_path / "first.ckpt")
    make_trainer(max_epochs=4, callbacks=[watch], **few).fit(
        make_task(**SMALL, **schedule), make_cars(), ckpt_path=path
    )
    assert watch.seen == pytest.approx(whole[2:])
    with pytest.raises(InputError, match="the checkpoint's warmup_cosine was made for 8 steps, this run lasts 12"):
        make_trainer(max_epochs=6, **few).fit(make_task(**SMALL, **schedule), make_cars(), ckpt_path=path)


def test_one_cycle_that_ends_before_the_run(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    words = "OneCycleLR lasts 7 steps, the run 8: leave total_steps and epochs out"
    with pytest.raises(InputError, match=words):
        rates(make_task, make_cars, make_trainer, scheduler="OneCycleLR", scheduler_args={"total_steps": 7})
    assert (
        len(rates(make_task, make_cars, make_trainer, scheduler="OneCycleLR", scheduler_args={"total_steps": 8})) == 8
    )


def test_the_backbone_has_a_smaller_rate(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    """In each group the scheduler multiplies its own rate."""
    seen: list[list[float]] = []

    class Each(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    task = make_task(
        backbone="squeezenet1_1", optimizer="SGD", lr=0.5, backbone_lr_scale=0.1, scheduler="CosineAnnealingLR",
        scheduler_interval="step",
    )  # fmt: skip
    trainer = make_trainer(limit_train_batches=2, limit_val_batches=0, callbacks=[Each()])
    trainer.fit(task, make_cars())
    assert seen == [pytest.approx([0.5, 0.05]), pytest.approx([0.25, 0.025])]
    groups = trainer.optimizers[0].param_groups
    assert [group["name"] for group in groups] == ["head", "backbone"]
    assert {id(one) for one in groups[0]["params"]} == {id(one) for one in task.head.parameters()}
    assert {id(one) for one in groups[1]["params"]} == {id(one) for one in task.backbone.parameters()}
    assert task.describe()["backbone_lr_scale"] == 0.1


def test_one_rate_is_one_group(make_task: MakeTask) -> None:
    """Without a name, so that its curve is `lr-Adam`."""
    (group,) = make_task(backbone="squeezenet1_1").parameter_groups()
    assert list(group) == ["params"]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_out_of_range(scale: float, make_task: MakeTask) -> None:
    with pytest.raises(
        InputError, match=r"backbone_lr_scale .* must be above 0; a backbone that does not learn is model\."
    ):
        make_task(**{**SMALL, "backbone_lr_scale": scale})


def test_a_frozen_backbone_has_no_rate(make_task: MakeTask) -> None:
    with pytest.raises(InputError, match=r"backbone_lr_scale 0\.1 is for a backbone that learns"):
        make_task(**SMALL, backbone_lr_scale=0.1).configure_optimizers()


def test_one_cycle_rises_to_the_rate_of_each_group() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 0.01}, {"params": weights[1:], "lr": 1.0}])
    hp = {"scheduler": "OneCycleLR", "scheduler_interval": "epoch", "lr": 0.01, "scheduler_args": {"total_steps": 9}}
    made = make_scheduler(optimizer, hp, None)
    assert [group["max_lr"] for group in optimizer.param_groups] == [0.01, 1.0]
    assert made["interval"] == "step"


def test_a_plateau_lowers_the_rate(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    watch = Rates()
    trainer = make_trainer(max_epochs=4, limit_train_batches=1, callbacks=[watch])
    plateau = {"monitor": "val/loss", "mode": "max", "threshold": 1e9, "patience": 0, "factor": 0.5}  # never better
    task = make_task(**SMALL, scheduler="ReduceLROnPlateau", scheduler_args=plateau)
    trainer.fit(task, make_cars())
    assert watch.seen == pytest.approx([1, 1, 0.5, 0.25])
    assert json.loads(json.dumps(dict(task.hparams)))["scheduler_args"] == plateau


@pytest.mark.parametrize(
    ("data", "monitor", "words"),
    [
        ({}, None, r"ReduceLROnPlateau needs a metric to watch: set monitor in model\.scheduler_args"),
        ({"val": "test"}, "val/loss", "monitors 'val/loss', but choosing on test images is refused"),
        ({"val": "none"}, "val/loss", "monitors 'val/loss', but there is nothing to validate on"),
        ({"protocol": "seed_leaky"}, "val/top1", "monitors 'val/top1', but choosing on copies of training images"),
    ],
)
def test_a_plateau_of_what_must_not_choose(
    data: dict[str, Any],
    monitor: str | None,
    words: str,
    make_task: MakeTask,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
) -> None:
    arguments = {} if monitor is None else {"monitor": monitor}
    task = make_task(**SMALL, scheduler="ReduceLROnPlateau", scheduler_args=arguments)
    with pytest.raises(InputError, match=words):
        make_trainer().fit(task, make_cars(**data))


def test_a_plateau_of_the_training_loss_is_no_choice_on_test_images(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(**SMALL, scheduler="ReduceLROnPlateau", scheduler_args={"monitor": "train/loss"})
    trainer = make_trainer(max_epochs=2, limit_train_batches=1)
    trainer.fit(task, make_cars(val="test"))
    assert trainer.lr_scheduler_configs[0].monitor == "train/loss"


@pytest.mark.parametrize("name", ["Rprop", "LBFGS"])
def test_optimizers_without_weight_decay(
    name: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(**{**SMALL, "optimizer": name, "lr": 0.01})
    before = task.head.bias.detach().clone()
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(task, make_cars())
    assert not torch.equal(task.head.bias, before)
    with pytest.raises(InputError, match=f"optimizer {name}: .*unexpected keyword argument 'weight_decay'"):
        make_task(**{**SMALL, "optimizer": name, "weight_decay": 0.1}).configure_optimizers()

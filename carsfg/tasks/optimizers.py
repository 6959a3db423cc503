"""Optimizers and learning rate schedules by name; lengths that only the trainer knows are filled in."""

import inspect
import math
from typing import Any

import torch
from lightning import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from carsfg.errors import InputError

FUSED = {"Adam", "AdamW", "SGD"}  # optimizers with a fused kernel on CPU and GPU

WARMUP_COSINE = "warmup_cosine"
WARMUP_SHARE = 0.05  # of the steps, unless the arguments say otherwise


def check_names(optimizer: str, scheduler: str | None) -> None:
    """Raise InputError unless there are an optimizer and a scheduler of these names.

    Args:
        optimizer: a class in `torch.optim`.
        scheduler: a class in `torch.optim.lr_scheduler`, or `warmup_cosine`; None for none.
    """
    _named("optimizer", torch.optim, optimizer)
    if scheduler not in (None, WARMUP_COSINE):
        _named("scheduler", torch.optim.lr_scheduler, scheduler)


def make_optimizer(groups: list[dict[str, Any]], hp: Any, clips: bool) -> Optimizer:
    """Build the optimizer from the hyper-parameters `optimizer`, `lr`, `weight_decay` and `optimizer_args`.

    `weight_decay` is left out for optimizers without one, such as `Rprop`, if it is 0.

    Args:
        groups: dicts of parameters with their own options, as `torch.optim` takes them.
        hp: hyper-parameters by name.
        clips: whether gradients are clipped, which Lightning refuses for fused optimizers.

    Raises:
        InputError: the optimizer does not take these arguments.
    """
    arguments = {"lr": hp["lr"], "weight_decay": hp["weight_decay"], **(hp["optimizer_args"] or {})}
    decays = "weight_decay" in inspect.signature(_named("optimizer", torch.optim, hp["optimizer"])).parameters
    if not decays and not arguments["weight_decay"]:
        del arguments["weight_decay"]
    if hp["optimizer"] in FUSED and not clips and not arguments.get("foreach"):
        arguments.setdefault("fused", True)  # one kernel for all tensors
    return _make("optimizer", torch.optim, hp["optimizer"], groups, **arguments)  # type: ignore[no-any-return]


def make_scheduler(optimizer: Optimizer, hp: Any, trainer: Trainer | None) -> dict[str, Any]:
    """Build the scheduler from `scheduler`, `scheduler_args` and `scheduler_interval`, in Lightning's format.

    Unless the arguments say otherwise, `OneCycleLR` rises to the rate of each group and falls over all steps of the
    run, and `CosineAnnealingLR` falls over the whole run. `ReduceLROnPlateau` takes the metric to watch from the
    argument `monitor`. `warmup_cosine` is described at the function of that name.

    Args:
        optimizer: whose rates the scheduler changes.
        hp: hyper-parameters by name.
        trainer: knows the length of the run; None: the arguments must give it.

    Raises:
        InputError: the scheduler does not take these arguments, does not last as long as the run, or would watch a
            metric that must not decide anything.
    """
    name, arguments, interval = hp["scheduler"], dict(hp["scheduler_args"] or {}), hp["scheduler_interval"]
    monitored = {}
    if name == WARMUP_COSINE:
        return {"scheduler": warmup_cosine(optimizer, arguments, trainer), "interval": "step"}
    if name == "ReduceLROnPlateau":
        monitored = {"monitor": _check_monitor(arguments.pop("monitor", None), trainer)}
    if name == "OneCycleLR":
        interval = "step"
        arguments.setdefault("max_lr", [group["lr"] for group in optimizer.param_groups])
        if trainer is not None and not arguments.keys() & {"total_steps", "epochs"}:
            arguments["total_steps"] = length_of(trainer, interval)
    if trainer is not None and name == "CosineAnnealingLR" and "T_max" not in arguments:
        arguments["T_max"] = length_of(trainer, interval)
    scheduler = _make("scheduler", torch.optim.lr_scheduler, name, optimizer, **arguments)
    if trainer is not None and name == "OneCycleLR" and scheduler.total_steps < length_of(trainer, interval):
        raise InputError(
            f"scheduler OneCycleLR lasts {scheduler.total_steps} steps, the run {length_of(trainer, interval)}: leave "
            "total_steps and epochs out of model.scheduler_args"
        )
    return {"scheduler": scheduler, "interval": interval, **monitored}


def warmup_cosine(optimizer: Optimizer, arguments: dict[str, Any], trainer: Trainer | None) -> LRScheduler:
    """Build a linear warm-up and a cosine to zero, by the step, over the whole run.

    With W of the T steps for the warm-up, step t = 0..T-1 multiplies the rate of each group by (t + 1) / (W + 1) before
    W, and by (1 + cos(pi (t - W) / (T - W))) / 2 from W on.

    Args:
        optimizer: whose rates the scheduler changes.
        arguments: one of `warmup_share` (W / T, 0 to below 1), `warmup_steps` and `warmup_epochs`; none of them is a
            share of 0.05.
        trainer: knows the length of the run.

    Raises:
        InputError: the arguments are others, or the warm-up is as long as the run.
    """
    if trainer is None:
        raise InputError(f"scheduler {WARMUP_COSINE} lasts as long as the run: it needs a trainer")
    total = length_of(trainer, "step")
    steps = _warmup_steps(arguments, total, trainer)
    falling = CosineAnnealingLR(optimizer, T_max=total - steps)
    if steps == 0:
        return falling
    rising = LinearLR(optimizer, start_factor=1 / (steps + 1), total_iters=steps)
    return SequentialLR(optimizer, [rising, falling], milestones=[steps])


def _warmup_steps(arguments: dict[str, Any], total: int, trainer: Trainer) -> int:
    """Return the number of steps of the warm-up, below the total."""
    lengths = {"warmup_share": total, "warmup_steps": 1, "warmup_epochs": _steps_per_epoch(trainer)}  # in steps
    (name, value), *more = arguments.items() or {"warmup_share": WARMUP_SHARE}.items()
    if more or name not in lengths or not isinstance(value, int | float) or not value >= 0:
        raise InputError(
            f"scheduler {WARMUP_COSINE}: model.scheduler_args is {arguments}: give one of {', '.join(lengths)}, 0 or "
            "more"
        )
    steps = value * lengths[name]
    if steps >= total and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        raise InputError(
            f"scheduler {WARMUP_COSINE}: {name} {value} is a warm-up of {steps:g} steps, the run lasts {total}: "
            "shorten it"
        )
    return min(int(steps), total - 1)


def length_of(trainer: Trainer, interval: str) -> int:
    """Return the length of a run, with `max_epochs` and `max_steps` taken into account.

    Args:
        trainer: tells the number of epochs and of steps per epoch.
        interval: `epoch` or `step`, the unit of the length; a last epoch that is not complete counts.

    Raises:
        InputError: the run has no end that is known before it starts.
    """
    if interval == "epoch" and trainer.max_steps == -1:
        length: float = trainer.max_epochs or -1
    else:
        length = trainer.estimated_stepping_batches
    if not 0 < length < math.inf:
        raise InputError("a schedule over the whole run needs its length: set trainer.max_epochs, or another scheduler")
    if interval == "epoch" and trainer.max_steps != -1:
        return math.ceil(length / _steps_per_epoch(trainer))
    return int(length)


def _steps_per_epoch(trainer: Trainer) -> int:
    if trainer.train_dataloader is None:  # with max_epochs -1 Lightning has not needed them yet
        trainer.fit_loop.setup_data()
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def check_length(scheduler: Any, hp: Any, trainer: Trainer) -> None:
    """Compare the length of a schedule that a checkpoint brought with that of the run.

    Args:
        scheduler: restored from the checkpoint.
        hp: hyper-parameters by name.
        trainer: of the resumed run.

    Raises:
        InputError: the resumed run has another length than the schedule was made for.
    """
    made_for, interval = _made_for(scheduler, hp)
    told = {"total_steps", "epochs", "T_max"} & set(hp["scheduler_args"] or {})
    if made_for is not None and not told and made_for != length_of(trainer, interval):
        raise InputError(
            f"the checkpoint's {hp['scheduler']} was made for {made_for} {interval}s, this run lasts "
            f"{length_of(trainer, interval)}: resume with the trainer.max_epochs and data it began with"
        )


def _made_for(scheduler: Any, hp: Any) -> tuple[int | None, str]:
    """Return the length of a schedule and its unit; None for one that fits runs of any length."""
    if isinstance(scheduler, SequentialLR):  # of `warmup_cosine`
        state = scheduler.state_dict()
        return state["_milestones"][-1] + state["_schedulers"][-1]["T_max"], "step"
    interval = "step" if hp["scheduler"] in ("OneCycleLR", WARMUP_COSINE) else hp["scheduler_interval"]
    names = {"OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max"}
    return getattr(scheduler, names.get(type(scheduler).__name__, ""), None), interval


def _check_monitor(monitor: Any, trainer: Trainer | None) -> str:
    """Return the metric that ReduceLROnPlateau watches, unless it would choose the rate on test images."""
    if not isinstance(monitor, str):
        raise InputError(
            "scheduler ReduceLROnPlateau needs a metric to watch: set monitor in model.scheduler_args, such as "
            "{monitor: val/loss}"
        )
    data = getattr(trainer, "datamodule", None)
    val = "seed_leaky" if getattr(data, "protocol", None) == "seed_leaky" else getattr(data, "val", None)
    reasons = {
        "test": "choosing on test images is refused",
        "none": "there is nothing to validate on",
        "seed_leaky": "choosing on copies of training images is refused",
    }
    if val in reasons and not monitor.startswith("train/"):
        raise InputError(
            f"scheduler ReduceLROnPlateau monitors {monitor!r}, but {reasons[val]}: set data.val: holdout, or monitor "
            "train/loss"
        )
    return monitor


def _named(kind: str, module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise InputError(f"unknown {kind} {name!r}: {module.__name__} has no such class")
    return found


def _make(kind: str, module: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    try:
        return _named(kind, module, name)(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{kind} {name}: {error}") from error

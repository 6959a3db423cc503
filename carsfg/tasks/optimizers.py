"""Optimizers and learning rate schedules by name; lengths that only the trainer knows are filled in."""

import inspect
import math
from typing import Any

import torch
from lightning import Trainer
from torch.optim import Optimizer

from carsfg.errors import InputError

FUSED = {"Adam", "AdamW", "SGD"}  # optimizers with a fused kernel on CPU and GPU


def check_names(optimizer: str, scheduler: str | None) -> None:
    """Raise InputError unless PyTorch has an optimizer and a scheduler of these names.

    Args:
        optimizer: a class in `torch.optim`.
        scheduler: a class in `torch.optim.lr_scheduler`; None for none.
    """
    _named("optimizer", torch.optim, optimizer)
    if scheduler is not None:
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
    argument `monitor`.

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
        if trainer.train_dataloader is None:  # with max_epochs -1 Lightning has not needed them yet
            trainer.fit_loop.setup_data()
        return math.ceil(length / math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    return int(length)


def check_length(scheduler: Any, hp: Any, trainer: Trainer) -> None:
    """Compare the length of a schedule that a checkpoint brought with that of the run.

    Args:
        scheduler: restored from the checkpoint.
        hp: hyper-parameters by name.
        trainer: of the resumed run.

    Raises:
        InputError: the resumed run has another length than the schedule was made for.
    """
    lasts = {"OneCycleLR": ("total_steps", "step"), "CosineAnnealingLR": ("T_max", hp["scheduler_interval"])}
    name, interval = lasts.get(type(scheduler).__name__, ("", ""))
    told = {"total_steps", "epochs", "T_max"} & set(hp["scheduler_args"] or {})
    if name and not told and getattr(scheduler, name) != length_of(trainer, interval):
        raise InputError(
            f"the checkpoint's {type(scheduler).__name__} was made for {getattr(scheduler, name)} {interval}s, this "
            f"run lasts {length_of(trainer, interval)}: resume with the trainer.max_epochs and data it began with"
        )


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

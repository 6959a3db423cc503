"""Optimisers and learning rate schedules by name, with the lengths that only the trainer knows."""

import math
from typing import Any

import torch
from lightning import Trainer
from torch.optim import Optimizer

from carsfg.errors import InputError

FUSED = {"Adam", "AdamW", "SGD"}  # optimisers with a fused kernel on CPU and GPU alike


def check_names(optimizer: str, scheduler: str | None) -> None:
    """Raise InputError unless PyTorch has an optimiser, and a scheduler if one is named, of these names.

    Args:
        optimizer: a class in `torch.optim`.
        scheduler: a class in `torch.optim.lr_scheduler`; None for none.
    """
    _named("optimizer", torch.optim, optimizer)
    if scheduler is not None:
        _named("scheduler", torch.optim.lr_scheduler, scheduler)


def make_optimizer(groups: list[dict[str, Any]], hp: Any, clips: bool) -> Optimizer:
    """Build the optimiser that hyper-parameters `optimizer`, `lr`, `weight_decay` and `optimizer_args` describe.

    Args:
        groups: parameter groups.
        hp: hyper-parameters by name.
        clips: whether gradients are clipped, which Lightning refuses beside a fused optimiser.

    Raises:
        InputError: it does not take these arguments.
    """
    arguments = {"lr": hp["lr"], "weight_decay": hp["weight_decay"], **(hp["optimizer_args"] or {})}
    if hp["optimizer"] in FUSED and not clips and not arguments.get("foreach"):
        arguments.setdefault("fused", True)  # one kernel for all tensors
    return _make("optimizer", torch.optim, hp["optimizer"], groups, **arguments)  # type: ignore[no-any-return]


def make_scheduler(optimizer: Optimizer, hp: Any, trainer: Trainer | None) -> dict[str, Any]:
    """Build the scheduler that `scheduler`, `scheduler_args` and `scheduler_interval` describe, as Lightning takes it.

    `OneCycleLR` rises to each group's rate and falls over all steps of the run, and `CosineAnnealingLR` falls over all
    of it, unless the arguments say otherwise.

    Args:
        optimizer: whose rates it changes.
        hp: hyper-parameters by name.
        trainer: knows how long the run lasts; None: the arguments must say it.

    Raises:
        InputError: it does not take these arguments.
    """
    name, arguments, interval = hp["scheduler"], dict(hp["scheduler_args"] or {}), hp["scheduler_interval"]
    if name == "OneCycleLR":
        interval = "step"
        arguments.setdefault("max_lr", [group["lr"] for group in optimizer.param_groups])
        if trainer is not None and not arguments.keys() & {"total_steps", "epochs"}:
            arguments["total_steps"] = length_of(trainer, interval)
    if trainer is not None and name == "CosineAnnealingLR" and "T_max" not in arguments:
        arguments["T_max"] = length_of(trainer, interval)
    scheduler = _make("scheduler", torch.optim.lr_scheduler, name, optimizer, **arguments)
    return {"scheduler": scheduler, "interval": interval}


def length_of(trainer: Trainer, interval: str) -> int:
    """Return how many epochs, or steps, a run lasts.

    Args:
        trainer: with its data.
        interval: `epoch` or `step`.

    Raises:
        InputError: it has no end that is known beforehand.
    """
    length = trainer.estimated_stepping_batches if interval == "step" else (trainer.max_epochs or -1)
    if not 0 < length < math.inf:
        raise InputError("a schedule over the whole run needs its length: set trainer.max_epochs, or another scheduler")
    return int(length)


def check_length(scheduler: Any, hp: Any, trainer: Trainer) -> None:
    """Compare the length of a schedule that a checkpoint brought with that of the run.

    Args:
        scheduler: as the checkpoint left it.
        hp: hyper-parameters by name.
        trainer: of the run that goes on.

    Raises:
        InputError: the run is resumed with another length, for which its schedule was not made.
    """
    lasts = {"OneCycleLR": ("total_steps", "step"), "CosineAnnealingLR": ("T_max", hp["scheduler_interval"])}
    name, interval = lasts.get(type(scheduler).__name__, ("", ""))
    told = {"total_steps", "epochs", "T_max"} & set(hp["scheduler_args"] or {})
    if name and not told and getattr(scheduler, name) != length_of(trainer, interval):
        raise InputError(
            f"the checkpoint's {type(scheduler).__name__} was made for {getattr(scheduler, name)} {interval}s, this "
            f"run lasts {length_of(trainer, interval)}: resume with the trainer.max_epochs and data it began with"
        )


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

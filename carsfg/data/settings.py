"""Checks of a DataModule's settings."""

from collections.abc import Sequence

from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from carsfg.data.splits import Protocol, Validation
from carsfg.errors import InputError


def refuse_selection(callbacks: Sequence[Callback], val: Validation, protocol: Protocol) -> None:
    """Refuse callbacks that would choose on test images, on copies of training images, or on nothing.

    A monitored training metric is allowed, since no image outside the training split decides then.

    Args:
        callbacks: all that the trainer runs, of which checkpoints and early stopping matter.
        val: `holdout`, `test` or `none`.
        protocol: `official`, `zero_shot` or `seed_leaky`.

    Raises:
        InputError: a checkpoint or early stopping monitors a metric that must not choose.
    """
    reasons = {
        "test": "choosing on test images is refused",
        "none": "there will be nothing to choose on",
        "holdout": "choosing on copies of training images is refused" if protocol == "seed_leaky" else "",
    }
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None) if isinstance(callback, EarlyStopping | Checkpoint) else None
        if monitor and reasons[val] and not str(monitor).startswith("train/"):
            raise InputError(
                f"{type(callback).__name__} monitors {monitor!r}, but data.val is {val!r}, data.protocol "
                f"{protocol!r}: {reasons[val]}; keep the last epoch (monitor: null)"
            )


def check_at_least(least: int, values: dict[str, int | None]) -> None:
    """Check the range of settings of the data.

    Args:
        least: smallest value that is allowed.
        values: settings by name; None is allowed.

    Raises:
        InputError: a value is smaller.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"data.{name} {value} must be {least} or more")

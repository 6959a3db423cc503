"""Checks of a DataModule's settings."""

from collections.abc import Sequence
from typing import Literal

from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from carsfg.data.box_jitter import MAX_BOX_JITTER
from carsfg.data.crop_cache import MAX_CROP_SIDE
from carsfg.data.splits import Protocol, Validation
from carsfg.errors import InputError

Retrieval = Literal["closed_loo", "closed_train_gallery", "zero_shot"]  # zero_shot is set by the protocol


def check_settings(protocol: Protocol, val: Validation, retrieval: Retrieval, image_size: int | None) -> None:
    """Check that settings of the data fit each other.

    Args:
        protocol: `official`, `zero_shot` or `seed_leaky`.
        val: `holdout`, `test` or `none`.
        retrieval: gallery of a query.
        image_size: side of the stored squares in pixels; None is allowed.

    Raises:
        InputError: they contradict each other, or the size is out of range.
    """
    galleries = ("closed_loo", "zero_shot" if protocol == "zero_shot" else "closed_train_gallery")
    if retrieval not in galleries:
        raise InputError(f"data.protocol {protocol!r} excludes {retrieval!r}: leave data.retrieval out")
    if protocol == "seed_leaky" and val != "holdout":
        raise InputError("protocol seed_leaky validates on copies of training images: set data.val: holdout")
    if image_size is not None and not 1 <= image_size <= MAX_CROP_SIDE:
        raise InputError(f"data.image_size {image_size} must be 1 to {MAX_CROP_SIDE} pixels")


def check_box_jitter(box_jitter: float, protocol: Protocol) -> None:
    """Check the range of `data.box_jitter`, and that it fits the protocol.

    Args:
        box_jitter: share of the box's side by which each side moves at most.
        protocol: `official`, `zero_shot` or `seed_leaky`.

    Raises:
        InputError: it is out of range, or the protocol stores its augmented copies.
    """
    if not 0 <= box_jitter <= MAX_BOX_JITTER:
        raise InputError(f"data.box_jitter is {box_jitter}: use 0 to {MAX_BOX_JITTER}")
    if box_jitter and protocol == "seed_leaky":
        raise InputError("data.protocol 'seed_leaky' stores its augmented copies: leave data.box_jitter out")


def refuse_selection(callbacks: Sequence[Callback], val: Validation, protocol: Protocol) -> None:
    """Refuse callbacks that would choose on test images, on copies of training images, or on nothing.

    A monitored training metric is allowed, since no image outside the training split decides then.

    Args:
        callbacks: callbacks of the trainer; only checkpoints and early stopping are checked.
        val: `holdout`, `test` or `none`.
        protocol: `official`, `zero_shot` or `seed_leaky`.

    Raises:
        InputError: a checkpoint or early stopping monitors a metric that must not choose.
    """
    reasons = {
        "test": "choosing on test images is refused; set data.val: holdout, or remove the monitor (monitor: null)",
        "none": "there will be nothing to choose on; set data.val: holdout, or remove the monitor (monitor: null)",
        "holdout": "choosing on copies of training images is refused; remove the monitor (monitor: null)"
        if protocol == "seed_leaky"
        else "",
    }
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None) if isinstance(callback, EarlyStopping | Checkpoint) else None
        if monitor and reasons[val] and not str(monitor).startswith("train/"):
            raise InputError(
                f"{type(callback).__name__} monitors {monitor!r}, but data.val is {val!r}, data.protocol "
                f"{protocol!r}: {reasons[val]}"
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

"""Checkpoints: reading one safely, loading the task it holds, and starting from its backbone."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from carsfg.data.splits import Protocol, Validation
from carsfg.errors import InputError
from carsfg.models.backbones import read_plain, skip_weights, weights_are_skipped

if TYPE_CHECKING:
    from carsfg.tasks.base import CarsTask

TASKS = {
    "CarClassifier": "carsfg.tasks.classifier",
    "CarCNN": "carsfg.tasks.cnn",
    "EmbeddingExtractor": "carsfg.tasks.embedder",
}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a carsfg checkpoint into memory on the CPU; nothing in the file is ever executed.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, it is damaged or hostile, or it is no carsfg checkpoint.
    """
    checkpoint = read_plain(path, "checkpoint")
    parts = ("carsfg", "hyper_parameters", "state_dict")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(part), dict) for part in parts):
        raise InputError(f"{path} is not a carsfg checkpoint")
    return checkpoint


def read_stamp(path: str | Path) -> dict[str, Any]:
    """Read what made a checkpoint, as `carsfg.callbacks.record_run` has it; nothing where it was trained without.

    Args:
        path: the checkpoint.

    Raises:
        InputError: the file cannot be read, or its stamp is damaged.
    """
    stamp = read_checkpoint(path)["carsfg"].get("stamp", {})
    known = {"protocol": get_args(Protocol), "val": get_args(Validation)}
    plain = isinstance(stamp, dict) and isinstance(stamp.get("image_size", 1), int)
    if not plain or any(stamp.get(key, names[0]) not in names for key, names in known.items()):
        raise InputError(f"{path}: its stamp is damaged, or of another version of carsfg")
    return dict(stamp)


def import_task(name: str) -> "type[CarsTask]":
    """Import one of carsfg's tasks by its class name.

    Args:
        name: one of `TASKS`.
    """
    return getattr(import_module(TASKS[name]), name)  # type: ignore[no-any-return]


def task_class(checkpoint: dict[str, Any]) -> "type[CarsTask]":
    """Return the class of the task in a checkpoint, one of carsfg's own.

    Args:
        checkpoint: as `read_checkpoint` gives it.

    Raises:
        InputError: the checkpoint names a task that this version does not have.
    """
    name = str(checkpoint["carsfg"].get("task"))
    if name not in TASKS:
        raise InputError(f"the checkpoint holds a task {name!r}, this version knows {', '.join(TASKS)}")
    return import_task(name)


def load(path: str | Path, device: str | torch.device = "cpu") -> "CarsTask":
    """Load the task in a checkpoint, ready to use: `load(path)(images)` with uint8 RGB (B, 3, H, W).

    Args:
        path: a checkpoint written by `carsfg fit`.
        device: where to put it.

    Returns:
        The task in eval mode; preprocessing and class names come with it.

    Raises:
        InputError: the file is missing, damaged, hostile, or no carsfg checkpoint.
    """
    checkpoint = read_checkpoint(path)
    cls = task_class(checkpoint)
    try:
        with skip_weights():
            task = cls(**checkpoint["hyper_parameters"])
        task.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version of carsfg: {' '.join(str(error).split())[:200]}") from error
    return task.to(memory_format=torch.channels_last).to(device).eval()  # laid out as in training


def save_network(task: "CarsTask", path: str | Path, stamp: Mapping[str, str | int]) -> None:
    """Write what `load` needs of a task, and nothing of its training.

    Args:
        task: the network.
        path: the file to write.
        stamp: what made it, as `carsfg.callbacks.record_run` has it.

    Raises:
        OSError, RuntimeError: it cannot be written.
    """
    parts = {"hyper_parameters": dict(task.hparams), "state_dict": task.state_dict()}
    torch.save({**parts, "carsfg": {"task": type(task).__name__, "stamp": dict(stamp)}}, path)


def init_from(task: "CarsTask", path: str | None) -> None:
    """Copy the backbone of a checkpoint into a task, its projection where that fits, and then its head too.

    The head is taken where both know the same classes. A pooling that the checkpoint has not stays as it is. What was
    not found there is listed in the task's `still_random`.

    Args:
        task: the one to fill; it is changed.
        path: of the checkpoint; None leaves the task as it is.

    Raises:
        InputError: the checkpoint cannot be read, or its backbone does not fit.
    """
    if path is None or weights_are_skipped():
        return
    checkpoint = read_checkpoint(path)
    own, state = task.state_dict(), checkpoint["state_dict"]
    backbone = {key: value for key, value in state.items() if key.startswith("backbone.")}
    needed = {key for key in own if key.startswith("backbone.") and not key.endswith(".exponent")}  # of a new pooling
    if needed - backbone.keys() or any(
        key not in own or own[key].shape != value.shape for key, value in backbone.items()
    ):
        theirs = checkpoint["hyper_parameters"].get("backbone") or f"{checkpoint['carsfg'].get('task')}'s"
        raise InputError(f"cannot start from {path}: its backbone ({theirs}) is not of this network's shape")
    fitting = dict(backbone)
    same_classes = checkpoint["hyper_parameters"]["class_names"] == task.class_names
    for part, wanted in (("projection.", True), ("head.", same_classes)):
        values = {key: value for key, value in state.items() if key.startswith(part)}
        mine = {key: value.shape for key, value in own.items() if key.startswith(part)}
        if wanted and {key: value.shape for key, value in values.items()} == mine:
            fitting |= values
        elif part == "projection.":
            same_classes = False  # a head on another projection would be worth nothing
    task.load_state_dict(fitting, strict=False)
    learned = ("backbone.", "projection.", "head.")
    task.still_random = sorted({key for key in own if key.startswith(learned)} - fitting.keys())


def check_classes(known: Sequence[str], given: Sequence[str]) -> None:
    """Compare the classes a network knows with those of the data.

    Args:
        known: the network's, in label order.
        given: the data's, likewise.

    Raises:
        InputError: they differ.
    """
    if list(known) != list(given):
        raise InputError(
            f"the network knows {len(known)} classes from {known[0]!r} on, the data has {len(given)} "
            f"from {given[0]!r} on: use the data it was trained for"
        )

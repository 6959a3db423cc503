"""Checkpoints: reading one safely, loading the task it holds, and starting from its backbone."""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from carsfg.class_paths import class_path, import_class
from carsfg.errors import InputError
from carsfg.models.backbones import read_plain, skip_weights, weights_are_skipped
from carsfg.run_record import RunRecord

if TYPE_CHECKING:
    from carsfg.tasks.base import CarsTask

TASKS = {
    "CarClassifier": "carsfg.tasks.classifier",
    "CarCNN": "carsfg.tasks.cnn",
    "EmbeddingExtractor": "carsfg.tasks.embedder",
}

FROZEN = {True: "backbone", False: "none"}  # `freeze` in checkpoints from before it had three values


PRETRAINED = ("timm:", "torchvision:")  # beginnings of names that stand for a pretrained network


def is_pretrained(name: str | Path) -> bool:
    """Return whether a name is that of a pretrained network, `timm:NAME` or `torchvision:NAME`, not of a file.

    Args:
        name: the checkpoint that a user named.
    """
    return str(name).startswith(PRETRAINED)


def backbone_name(name: str | Path) -> str:
    """Return the name of a pretrained network as `carsfg.models.backbones.build_backbone` takes it.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
    """
    return str(name).removeprefix("torchvision:")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a carsfg checkpoint into memory on the CPU; nothing in the file is executed.

    `load` imports the module of a task of your own, which the checkpoint names: only what is importable runs.

    Args:
        path: file of the checkpoint.

    Raises:
        InputError: the file does not exist, is damaged or hostile, or is not a checkpoint of this version of carsfg.
    """
    if is_pretrained(path):
        raise InputError(
            f"{path} is the name of a pretrained network, and here a checkpoint is needed: `carsfg fit` trains the "
            f"network with --model.backbone={backbone_name(path)}"
        )
    checkpoint = read_plain(path, "checkpoint")
    parts = ("carsfg", "hyper_parameters", "state_dict")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(part), dict) for part in parts):
        raise InputError(f"{path} is not a carsfg checkpoint")
    if any(str(key).startswith("trunk.") for key in checkpoint["state_dict"]):
        raise InputError(f"{path} was written by an older carsfg, which named its tensors differently: train it again")
    arguments = checkpoint["hyper_parameters"]
    if isinstance(arguments.get("freeze"), bool):
        arguments["freeze"] = FROZEN[arguments["freeze"]]
    return checkpoint


def read_record(path: str | Path) -> RunRecord:
    """Read the run record of a checkpoint; an empty record if it was trained without one.

    Args:
        path: file of the checkpoint.

    Raises:
        InputError: the file cannot be read, or its record is damaged.
    """
    return _record(read_checkpoint(path), path)


def import_task(name: str) -> "type[CarsTask]":
    """Import one of carsfg's tasks by its class name.

    Args:
        name: class name listed in `TASKS`.
    """
    return getattr(import_module(TASKS[name]), name)  # type: ignore[no-any-return]


def task_class(checkpoint: dict[str, Any]) -> "type[CarsTask]":
    """Return the class of the task in a checkpoint: one of carsfg's, or a user's own by its class path.

    Args:
        checkpoint: as `read_checkpoint` returns it.

    Raises:
        InputError: the class cannot be imported, or is not a task.
    """
    from carsfg.tasks.base import CarsTask

    name, path = (str(checkpoint["carsfg"].get(key, "")) for key in ("task", "class_path"))
    if name in TASKS and path in ("", f"{TASKS[name]}.{name}"):
        return import_task(name)
    if not path:
        raise InputError(f"the checkpoint holds a task {name!r}, this version knows {', '.join(TASKS)}")
    found = import_class(path)
    if not issubclass(found, CarsTask):
        raise InputError(f"the checkpoint names {path!r} as its task, which is not a subclass of carsfg.CarsTask")
    return found  # type: ignore[no-any-return]


def load(path: str | Path, device: str | torch.device = "cpu", weights: str | None = None) -> "CarsTask":
    """Load a network, ready to use: `load(path)(images)` with uint8 RGB (B, 3, H, W).

    Args:
        path: a checkpoint written by `carsfg fit`; or `timm:NAME` or `torchvision:NAME`, a pretrained network.
        device: where to put it.
        weights: of a pretrained network, see `carsfg.tasks.pretrained.load_pretrained`.

    Returns:
        The task in eval mode; preprocessing and class names come with it. The module of a task of your own is imported
        by the name in the checkpoint.

    Raises:
        InputError: the file is missing, damaged, hostile, or no carsfg checkpoint; or the pretrained network is
            unknown, or its weights cannot be read or fetched.
    """
    if _named(path, weights):
        return load_with_record(path, device, weights)[0]
    return _task(read_checkpoint(path), path, device)


def load_with_record(
    path: str | Path, device: str | torch.device = "cpu", weights: str | None = None
) -> "tuple[CarsTask, RunRecord]":
    """Load a network and its run record; the file is read once.

    Args:
        path: a checkpoint written by `carsfg fit`; or `timm:NAME` or `torchvision:NAME`, a pretrained network.
        device: where to put the task.
        weights: of a pretrained network, see `carsfg.tasks.pretrained.load_pretrained`.

    Raises:
        InputError: as `load` and `read_record` raise it.
    """
    if _named(path, weights):
        from carsfg.tasks.pretrained import load_pretrained

        task, record = load_pretrained(str(path), weights)
        return _ready(task, device), record
    checkpoint = read_checkpoint(path)
    return _task(checkpoint, path, device), _record(checkpoint, path)


def _task(checkpoint: dict[str, Any], path: str | Path, device: str | torch.device) -> "CarsTask":
    """Build the task in a checkpoint that was read."""
    cls = task_class(checkpoint)
    try:
        with skip_weights():
            task = cls(**checkpoint["hyper_parameters"])
        task.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version of carsfg: {' '.join(str(error).split())[:200]}") from error
    return _ready(task, device)


def _ready(task: "CarsTask", device: str | torch.device) -> "CarsTask":
    return task.to(memory_format=torch.channels_last).to(device).eval()  # laid out as in training


def _named(path: str | Path, weights: str | None) -> bool:
    """Return whether a name is that of a pretrained network; only these take weights."""
    named = is_pretrained(path)
    if weights is not None and not named:
        raise InputError(
            f"--weights {weights!r} is for pretrained networks, timm:NAME or torchvision:NAME: {str(path)!r} is a "
            "checkpoint, which holds its weights, so leave --weights out"
        )
    return named


def _record(checkpoint: dict[str, Any], path: str | Path) -> RunRecord:
    return RunRecord.from_dict(checkpoint["carsfg"].get("record", {}), path)


def save_network(task: "CarsTask", path: str | Path, record: RunRecord) -> None:
    """Write what `load` needs of a task, without the state of its training.

    Args:
        task: network to write.
        path: file to write.
        record: configuration and environment of the training.

    Raises:
        InputError: the network was loaded for inference alone.
        OSError, RuntimeError: the file cannot be written.
    """
    if not task.savable:
        raise InputError(
            "the network was loaded for inference alone, without all tensors: load its checkpoint by carsfg.load"
        )
    parts = {"hyper_parameters": dict(task.hparams), "state_dict": task.state_dict()}
    # without these, `carsfg test` cannot read it, and callbacks are not told of it
    lightning = {"pytorch-lightning_version": version("lightning"), "callbacks": {}}
    torch.save({**parts, **lightning, "carsfg": {**task_name(task), "record": record.to_dict()}}, path)


def task_name(task: "CarsTask") -> dict[str, str]:
    """Return the names by which `task_class` finds the class of a task.

    Args:
        task: network to write.
    """
    return {"task": type(task).__name__, "class_path": class_path(type(task))}


def init_from(task: "CarsTask", path: str | None) -> None:
    """Copy the backbone of a checkpoint into a task, and its projection and head if they fit.

    The head is copied if both have the same classes. A pooling that the checkpoint lacks stays as it is. Tensors that
    the checkpoint lacks are listed in `still_random` of the task.

    Args:
        task: network that takes the tensors; it is changed.
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
        raise InputError(f"cannot start from {path}: its backbone ({theirs}) does not have the shape of this network")
    fitting = dict(backbone)
    same_classes = checkpoint["hyper_parameters"]["class_names"] == task.class_names
    for part in ("projection.", "head."):
        values = {key: value for key, value in state.items() if key.startswith(part)}
        mine = {key: value.shape for key, value in own.items() if key.startswith(part)}
        if {key: value.shape for key, value in values.items()} != mine:
            break  # a head trained on a different projection is useless
        if part == "projection." or same_classes:
            fitting |= values
    task.load_state_dict(fitting, strict=False)
    learned = ("backbone.", "projection.", "head.")
    task.still_random = sorted({key for key in own if key.startswith(learned)} - fitting.keys())


def check_classes(known: Sequence[str], given: Sequence[str]) -> None:
    """Compare the classes a network knows with those of the data.

    Args:
        known: the network's, in label order.
        given: the data's, in label order.

    Raises:
        InputError: they differ.
    """
    if list(known) != list(given):
        pairs = enumerate(zip_longest(known, given))
        label, (one, other) = next((label, pair) for label, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"the network was trained on {len(known)} classes, the data has {len(given)}; first difference at label "
            f"{label}: {one!r} and {other!r}; use the data of the training"
        )

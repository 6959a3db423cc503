"""The data block of the run that made a checkpoint, for the verbs that use it again."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from carsfg.class_paths import import_class
from carsfg.commands.options import RaisingParser
from carsfg.commands.parsing import argument_names, mistake_in, one_line
from carsfg.errors import InputError, suggestion
from carsfg.run_record import RunRecord

if TYPE_CHECKING:
    from lightning import LightningDataModule

    from carsfg.tasks.base import CarsTask

DEFAULT_CLASS = "carsfg.StanfordCarsDataModule"
OWN_PHOTOS = "carsfg.PhotoDataModule"
# `retrieval` may contradict another protocol, and the verbs score all galleries; the batch size is the verb's own
NOT_TAKEN = ("retrieval", "batch_size")
NORMALISED = ("interpolation", "mean", "std")  # what the weights decide, besides the image size
SHOWN = ("drawn", "crop", "margin", "image_size", "protocol")


def make_data(
    record: RunRecord, task: "CarsTask", words: Sequence[str], batch_size: int
) -> "tuple[LightningDataModule, dict[str, Any]]":
    """Build the DataModule of a run anew, with the user's options laid over the run's.

    Args:
        record: run record of the checkpoint.
        task: the network, whose image size and classes decide if the record is empty.
        words: the user's `--data...` words, as `carsfg fit` takes them.
        batch_size: images per batch, for a class that has this argument.

    Returns:
        The DataModule, not set up yet, and its arguments.

    Raises:
        InputError: the class cannot be imported, or does not have the arguments.
    """
    path = str(record.data.get("class_path", DEFAULT_CLASS))
    arguments = {key: value for key, value in record.data.items() if key not in (*NOT_TAKEN, "class_path")}
    arguments.setdefault("image_size", task.hparams["image_size"])
    arguments["batch_size"] = batch_size
    module, used = _build(path, arguments, words)
    if "protocol" not in record.data and _is_zero_shot(module, task):
        module, used = _build(path, arguments | {"protocol": "zero_shot"}, words)
    return module, used


def _build(
    path: str, arguments: Mapping[str, Any], words: Sequence[str]
) -> "tuple[LightningDataModule, dict[str, Any]]":
    from lightning import LightningDataModule

    import_class(OWN_PHOTOS)  # else its short name, as `carsfg fit` takes it, is not known
    known = argument_names(import_class(path))
    parser = RaisingParser(allow_abbrev=False)
    parser.add_subclass_arguments(LightningDataModule, "data", fail_untyped=False)
    taken = {key: value for key, value in arguments.items() if key in known}
    try:
        parser.set_defaults({"data": {"class_path": path, "init_args": taken}})
        values = parser.parse_args(list(words))
    except InputError as error:
        raise InputError(_option_error(str(error), words, known)) from None
    try:
        return parser.instantiate(values).data, values.data.init_args.as_dict()
    except Exception as error:
        raise mistake_in(error) or error from None


def _option_error(message: str, words: Sequence[str], known: Iterable[str]) -> str:
    """Return in one line what is wrong with the data block."""
    unknown = re.search(r"Option '([^']+)'", message)
    option = f"--data.{unknown[1]}" if unknown else ""
    if option in [word.partition("=")[0] for word in words]:
        return f"unknown option {option!r}{suggestion(option, [f'--data.{name}' for name in known])}"
    if "required: root" in message:
        return "the run was trained on photos of your own: name their folder or table with --data.root"
    return f"in the data block: {one_line(message, {})}"


def _is_zero_shot(module: Any, task: "CarsTask") -> bool:
    """Return True if a network knows the first half of the classes of the data."""
    names = list(getattr(module, "all_class_names", []))
    return bool(names) and task.class_names == names[: len(names) // 2]


def settings_line(recorded: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Return one line that says which settings are those of the run.

    Args:
        recorded: settings of the run, by name.
        used: settings in use, by name.
    """
    same = [_setting(name, value) for name, value in used.items() if recorded.get(name) == value]
    changed = [
        f"{_setting(name, value)} instead of {_value(recorded[name])}"
        for name, value in used.items()
        if name in recorded and recorded[name] != value
    ]
    new = [_setting(name, value) for name, value in used.items() if name not in recorded]
    parts = {"from the run": same, "changed": changed, "not recorded by the run": new}
    return "; ".join(f"{source}: {', '.join(settings)}" for source, settings in parts.items() if settings)


def say_settings(record: RunRecord, data: Mapping[str, Any], **further: Any) -> None:
    """Print which settings are those of the run, on stderr.

    Args:
        record: run record of the checkpoint.
        data: arguments of the DataModule, as `make_data` returns them.
        **further: `metric` and `precision` in use.
    """
    changed = [name for name in data if name in record.data and record.data[name] != data[name]]
    names = [name for name in dict.fromkeys([*SHOWN, *changed]) if name not in NOT_TAKEN]
    used = {name: data[name] for name in names if data.get(name) is not None} | further
    recorded = record.data | {"metric": record.metric, "precision": record.trained_precision}
    known = {name: value for name, value in recorded.items() if value is not None}
    line = settings_line(known, used) if record.is_trained else pretrained_line(record, used)
    print(line, file=sys.stderr)  # noqa: T201


def pretrained_line(record: RunRecord, used: Mapping[str, Any]) -> str:
    """Return one line that says how a pretrained network is used, and how it takes images.

    Args:
        record: of the network, as `carsfg.tasks.pretrained.load_pretrained` returns it, or of its gallery.
        used: settings in use, by name.
    """
    task = record.task
    images = [
        f"{task[name]}" if name == "interpolation" else f"{name} {task[name]}" for name in NORMALISED if name in task
    ]
    settings = [_setting(name, value) for name, value in used.items()]
    return f"pretrained network {record.network}, weights {record.weights}: {', '.join([*settings, *images])}"


def _setting(name: str, value: Any) -> str:
    if name == "image_size":
        return f"{value} px"
    return _value(value) if name in ("metric", "precision", "protocol") else f"{name} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)

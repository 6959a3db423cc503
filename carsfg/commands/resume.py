"""Going on with a run in its own folder, and what a checkpoint decides for the run that uses it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carsfg.callbacks.record_run import plain
from carsfg.commands.run_checkpoints import best_checkpoint, last_checkpoint
from carsfg.errors import InputError
from carsfg.models.image_input import INPUT_ARGUMENTS
from carsfg.run_record import RunRecord
from carsfg.tasks.image_input import input_lines, unset_input


class ResumedRun:
    """A run to resume in its own folder.

    Args:
        folder: of the run, with its `config.yaml`.
        wanted: checkpoint to resume from: `last` for the newest whole one, `best` for the one with the best monitored
            metric, or a file. A run that was stopped before its first checkpoint starts again.

    Raises:
        InputError: the folder is not that of a run, has no such checkpoint, or only damaged ones.
    """

    def __init__(self, folder: str, wanted: str = "last") -> None:
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        if not self.config.is_file():
            raise InputError(f"{folder} is not the folder of a run: it has no config.yaml")
        self.experiment = RunRecord.read(self.folder).experiment
        # `root/experiment/run` is how the loggers name folders
        self.root, self.parent, self.name = str(self.folder.parent.parent), self.folder.parent.name, self.folder.name
        if wanted == "last":
            self.checkpoint = last_checkpoint(self.folder)
        else:
            self.checkpoint = best_checkpoint(self.folder) if wanted == "best" else wanted

    def is_tested(self) -> bool:
        """Return True if the latest metrics of the CSV logger hold a test; earlier ones are of a shorter training."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return False
        with path.open(encoding="utf-8") as file:
            return ",test/" in f",{file.readline()}"

    def keep_metrics(self) -> None:
        """Move the logged metrics aside, since the CSV logger begins a new file; `report` reads both."""
        path = self.folder / "metrics.csv"
        if path.is_file() and "LOCAL_RANK" not in os.environ:
            earlier = len(list(self.folder.glob("metrics-*.csv")))
            path.rename(self.folder / f"metrics-{earlier}.csv")


def resume_words(args: list[str]) -> tuple[list[str], ResumedRun | None]:
    """Replace `--resume RUN` by the run's own config and its checkpoint.

    Args:
        args: the words after `carsfg`, the verb first.

    Returns:
        The words, and the run to resume, if there is one.

    Raises:
        InputError: the run cannot be resumed.
    """
    words, folder, wanted = [], None, "last"
    rest = iter(args)
    for word in rest:
        option, equals, value = word.partition("=")
        if option == "--resume":
            folder = value if equals else next(rest, "")
        elif option == "--ckpt_path" and (value if equals else None) in ("last", "best"):
            wanted = value
        else:
            words.append(word)
    if folder is None:
        if wanted != "last" or len(words) < len(args):
            raise InputError("--ckpt_path takes a file here; `last` and `best` go with --resume=RUN")
        return args, None
    if words[0] != "fit":
        raise InputError("--resume continues a training: use it with `carsfg fit`")
    if not folder or folder.startswith("--"):
        raise InputError("--resume needs the folder of a run: --resume lightning_logs/EXPERIMENT/version_N")
    run = ResumedRun(folder, wanted)
    checkpoint = [f"--ckpt_path={run.checkpoint}"] if run.checkpoint else ["--ckpt_path=null"]
    return ["fit", "--config", str(run.config), *words[1:], *checkpoint], run


def check_resumable(checkpoint: Mapping[str, Any], path: str, max_epochs: int | None, max_steps: int) -> None:
    """Check that a training can be resumed from a checkpoint.

    Args:
        checkpoint: as `read_checkpoint` returns it.
        path: of its file, for the message.
        max_epochs: length of the resumed run; None or -1 for no limit.
        max_steps: length of the run in optimizer steps; -1 for no limit.

    Raises:
        InputError: the checkpoint holds weights alone, or the run is finished.
    """
    if "optimizer_states" not in checkpoint or "loops" not in checkpoint:
        raise InputError(
            f"{path} holds weights alone, so training cannot be resumed from it: start a new run from it with "
            "--model.init_from"
        )
    epochs, steps = _progress(checkpoint)
    if max_epochs not in (None, -1) and epochs >= max_epochs:
        raise InputError(f"{path} has had its {epochs} epochs: increase trainer.max_epochs to continue")
    if max_steps != -1 and steps >= max_steps:
        raise InputError(f"{path} has had its {steps} steps: increase trainer.max_steps to continue")


def was_completed(checkpoint: Mapping[str, Any], max_epochs: int | None, max_steps: int) -> bool:
    """Return True if a checkpoint was saved at the end of a training of exactly this length.

    Args:
        checkpoint: as `read_checkpoint` returns it.
        max_epochs: length of the run; None or -1 for no limit.
        max_steps: length of the run in optimizer steps; -1 for no limit.
    """
    if "loops" not in checkpoint:
        return False
    epochs, steps = _progress(checkpoint)
    return epochs == max_epochs or steps == max_steps


def _progress(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of finished epochs and of optimizer steps."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return epochs, checkpoint.get("global_step", 0)


def check_same_task(checkpoint: Mapping[str, Any], path: str, configured: str) -> None:
    """Check that a checkpoint holds the task that the config asks for.

    Args:
        checkpoint: as `read_checkpoint` returns it.
        path: of its file, for the message.
        configured: class path of the model.

    Raises:
        InputError: it holds another task, or a pretrained network without a head.
    """
    if not checkpoint["hyper_parameters"].get("class_names"):
        raise InputError(f"{path} is a pretrained network without a head: `carsfg evaluate` scores it")
    held, wanted = checkpoint["carsfg"].get("task"), configured.rpartition(".")[2]
    if held != wanted:
        raise InputError(f"{path} holds a {held}, the config asks for a {wanted}")


def take_input(arguments: Any) -> list[str]:
    """Take image size, interpolation and normalisation of the weights into the configured arguments of the model.

    Args:
        arguments: of the model; those that are None are changed.

    Returns:
        Lines to print, see `carsfg.tasks.image_input.input_lines`.
    """
    taken = {name: value for name, value in unset_input(arguments).items() if name in arguments}
    for name, value in taken.items():
        arguments[name] = value
    return input_lines(arguments, taken)


def take_hyper_parameters(found: Mapping[str, Any], asked: Any) -> list[str]:
    """Take the hyper-parameters of a checkpoint into the configured arguments of the model.

    Args:
        found: hyper-parameters of the checkpoint.
        asked: arguments of the model; they are changed.

    Returns:
        One phrase per value that is taken from the checkpoint although the config has another.
    """
    lines = []
    for key, value in found.items():
        if key == "class_names":
            continue
        wanted = asked.get(key)
        unset = key in INPUT_ARGUMENTS and wanted is None
        if key not in ("weights", "init_from", "compile") and not unset and plain(wanted) != plain(value):
            lines.append(f"model.{key} {value!r} (the config has {wanted!r})")
        asked[key] = value
    return lines


def take_data_settings(record: RunRecord, data: Any) -> list[str]:
    """Take the stored image size of a checkpoint's run unless the config sets one.

    Args:
        record: run record of the checkpoint.
        data: the configured DataModule, with `init_args`; they are changed.

    Returns:
        One phrase per setting of the images that is taken from the config although the training used another.
    """
    arguments = data.get("init_args")
    lines = []
    for key in ("image_size", "crop", "margin"):
        if arguments is None or key not in record.data or key not in arguments:
            continue
        if key == "image_size" and arguments[key] is None:
            arguments[key] = record.data[key]
        if arguments[key] != record.data[key]:
            lines.append(f"data.{key} {arguments[key]!r} (the training used {record.data[key]!r})")
    return lines

"""The folder of a run: its name and its loggers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from carsfg.errors import InputError

LOGS = "lightning_logs"


def make_loggers(given: Any, root: str | None, experiment: str, run: str | None) -> list[Logger]:
    """Make the loggers of a run: TensorBoard and CSV in one folder, or the user's own and CSV.

    `carsfg report` reads the CSV file, so that it is always written.

    Args:
        given: the `trainer.logger` of the config: None or True for the default, False for none, a logger or a list.
        root: folder of all runs; None: `lightning_logs`.
        experiment: name of the experiment, the run's parent folder.
        run: name of the run's folder; None: the next free `version_N`.

    Raises:
        InputError: the folder cannot be written, or a run of that name exists.
    """
    if given is False:
        return []
    own = [] if given in (None, True) else list(given) if isinstance(given, Sequence) else [given]
    if any(isinstance(one, CSVLogger) for one in own):
        return own
    root = root or LOGS
    name = run if run is not None else reserve(Path(root) / experiment)
    table = CSVLogger(root, experiment, version=name, flush_logs_every_n_steps=1)
    return [table, *own] if own else [TensorBoardLogger(root, experiment, name, default_hp_metric=False), table]


def reserve(folder: Path) -> str:
    """Create the next free `version_N` in a folder and return its name.

    Creating a folder is atomic, so that two runs that are started together get two folders. In the other processes of
    a distributed run nothing is created: only the first process writes logs.

    Args:
        folder: of all runs of an experiment.

    Raises:
        InputError: the folder cannot be written.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        return "version_0"
    taken = [path.name.removeprefix("version_") for path in folder.glob("version_*")]
    number = max((int(one) for one in taken if one.isdigit()), default=-1) + 1
    while True:
        try:
            (folder / f"version_{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise InputError(
                f"cannot write the log folder {str(folder)[:80]!r} ({error.strerror}): name another one with "
                "--trainer.default_root_dir"
            ) from error
        else:
            return f"version_{number}"


def check_name(root: str | None, experiment: str, name: str) -> None:
    """Check the name of a new run.

    Args:
        root: folder of all runs; None: `lightning_logs`.
        experiment: parent folder of the run, such as `tl_exp3`.
        name: folder that the user wants for the run.

    Raises:
        InputError: the name is not that of one folder, or a run of this name exists.
    """
    folder = Path(root or LOGS) / experiment / name
    if name in ("", ".", "..") or Path(name).name != name or len(name.encode()) > 200:
        raise InputError(f"--name {name[:80]!r} must be one folder name of at most 200 bytes")
    if folder.exists() and any(folder.iterdir()) and "LOCAL_RANK" not in os.environ:
        if not (folder / "config.yaml").is_file():
            raise InputError(f"the folder {folder} exists and holds no run to resume: use another --name, or delete it")
        raise InputError(f"the run {folder} exists: use another --name, or resume it with --resume={folder}")


def check_loggers(loggers: Sequence[Logger]) -> None:
    """Refuse loggers with a fixed version that write to the folder of an earlier run.

    Args:
        loggers: of a new run.

    Raises:
        InputError: the folder of one of them holds a config.
    """
    folders = (Path(one.log_dir) for one in loggers if isinstance(one, CSVLogger | TensorBoardLogger))
    for folder in folders:
        if (folder / "config.yaml").exists() and "LOCAL_RANK" not in os.environ:
            raise InputError(f"the run {folder} exists: give trainer.logger another version or name")


def relative(path: str) -> Path:
    """Return a path below the working folder without that folder.

    Args:
        path: any file or directory.
    """
    own, here = Path(path).absolute(), Path.cwd()
    return own.relative_to(here) if own.is_relative_to(here) else own

"""The checkpoints in a run's folder: the newest one that is whole, and the best one."""

import os
import pickle
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from carsfg.errors import InputError
from carsfg.tasks.checkpoints import read_checkpoint


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that a training can be resumed from; None if the run has saved none.

    Damaged files are named on stderr and passed over. If no checkpoint holds more than weights, the newest one is
    returned.

    Args:
        folder: that holds the `checkpoints` folder of the run.

    Raises:
        InputError: the run has checkpoints, but all are damaged.
    """
    newest = None
    for path, checkpoint in _whole_checkpoints(folder):
        newest = newest or str(path)
        if "loops" in checkpoint and "optimizer_states" in checkpoint:
            return str(path)
    return newest


def best_checkpoint(folder: Path) -> str | None:
    """Return the checkpoint with the best monitored metric; None if the run has saved none.

    Args:
        folder: that holds the `checkpoints` folder of the run.

    Raises:
        InputError: no metric was monitored, the file is gone, or all checkpoints are damaged.
    """
    newest = next(_whole_checkpoints(folder), None)
    if newest is None:
        return None
    for state in newest[1].get("callbacks", {}).values():
        if isinstance(state, dict) and state.get("monitor") and state.get("best_model_path"):
            best = folder / "checkpoints" / Path(state["best_model_path"]).name
            if best.is_file():
                return str(best)
    raise InputError(f"{folder} has no best checkpoint: no ModelCheckpoint of it had a monitor")


def trained_steps(checkpoint: str | Path) -> int:
    """Return the number of optimizer steps after which a checkpoint was saved; -1 if the file is missing or foreign.

    Args:
        checkpoint: path of a `.ckpt` file.
    """
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError):
        return -1


def _newest_first(paths: list[Path]) -> list[Path]:
    """Return files in the order in which they were saved, the last one first.

    If a file is newer than now, the clock was set back: the number of steps counts then.
    """
    times = {path: path.stat().st_mtime_ns for path in paths}
    steps = {path: trained_steps(path) for path in paths} if max(times.values(), default=0) > time.time_ns() else {}
    return sorted(paths, key=lambda path: (steps.get(path, 0), times[path]), reverse=True)


def _whole_checkpoints(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the checkpoints of a run, newest first; damaged ones are named, and an error if there are no others."""
    saved = [path for path in folder.glob("checkpoints/*.ckpt") if not path.name.startswith(".")]
    damaged: list[str] = []
    for path in _newest_first(saved):
        try:
            checkpoint = _read_whole(path)
        except InputError as error:
            damaged.append(str(error))
            continue
        if damaged and "LOCAL_RANK" not in os.environ:
            print(f"{'; '.join(damaged)}; using the one before, {path}", file=sys.stderr)  # noqa: T201
        damaged = []
        yield path, checkpoint
    if saved and len(damaged) == len(saved):
        raise InputError(f"{damaged[0]}; {folder} has no other checkpoint, so start a new run")


def _read_whole(path: Path) -> dict[str, Any]:
    """Read a checkpoint and compare the checksums of its parts, which `torch.load` does not look at."""
    checkpoint = read_checkpoint(path)
    with zipfile.ZipFile(path) as parts:
        if (part := parts.testzip()) is not None:
            raise InputError(f"{path} is damaged: the checksum of its part {part!r} differs")
    return checkpoint

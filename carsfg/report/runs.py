"""Reading finished runs: what made them, their curves, their test figures and their mistakes."""

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from carsfg.errors import InputError

Confusions = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Run:
    """A run that was tested.

    Attributes:
        name: its folder, below the log folder.
        experiment: the config's name, such as `tl_exp3`.
        stamp: its hyper-parameters, and what `carsfg.callbacks.record_run` adds.
        curves: (epoch, value) of each logged key, such as `val/top1`, epochs from 1.
        test: last value of each `test/...` key, and of each `val/...` key.
        confusions: images by true and predicted class; empty where the run was tested by an older version.
    """

    name: str
    experiment: str
    stamp: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]
    test: dict[str, float]
    confusions: Confusions = field(default_factory=dict)


def read_runs(folder: str | Path) -> list[Run]:
    """Read all runs below a folder that were tested, sorted by name; a damaged one is skipped, with a line on stderr.

    Args:
        folder: such as `lightning_logs`.

    Raises:
        InputError: the folder does not exist, or none of its readable runs was tested.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    runs = []
    for path in sorted(folder.rglob("metrics.csv")):
        try:
            runs.append(_read(path.parent, folder))
        except InputError as error:
            print(f"skipped: {error}", file=sys.stderr)  # noqa: T201
    tested = [run for run in runs if "test/top1" in run.test or "test/retrieval/top_1" in run.test]
    if not tested:
        raise InputError(f"no run below {folder} was tested: `carsfg fit` leaves such runs in lightning_logs")
    return tested


def _read(folder: Path, root: Path) -> Run:
    name = folder.relative_to(root).as_posix()
    parts = [part for part in Path(name).parts if not part.startswith("version_") and part != "reference"]
    stamp = _yaml(folder / "hparams.yaml")
    experiment = parts[0] if parts else root.name
    curves: dict[str, list[tuple[int, float]]] = {}
    last: dict[str, float] = {}
    try:
        with (folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                for key, value in row.items():
                    if value and key not in ("epoch", "step"):
                        last[key] = float(value)
                        if row.get("epoch"):
                            curves.setdefault(key, []).append((int(row["epoch"]) + 1, last[key]))
        return Run(name, experiment, stamp, curves, last, _confusions(folder / "confusions.csv"))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{folder}: its files are damaged ({error})") from error


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    return found if isinstance(found, dict) else {}


def _confusions(path: Path) -> Confusions:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["class"], row["predicted"]): int(row["images"]) for row in csv.DictReader(file)}

"""Finished runs on disk: their records, curves, metrics and confusions."""

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path

from carsfg.errors import InputError
from carsfg.run_record import RunRecord

Confusions = dict[tuple[str, str], int]
Attributes = dict[str, dict[str, str]]  # value of each class, by name of the attribute
PER_CLASS = ("class", "images", "correct", "accuracy")  # columns of per_class.csv that are not attributes
PREDICTIONS = "predictions.csv"
NO_METRICS = ("epoch", "step")  # columns of metrics.csv
STAGES = ("train/", "val/")  # starts of the keys that training logs once per epoch


@dataclass(frozen=True)
class Run:
    """A run that was tested, or trained to its end.

    Attributes:
        name: its folder, below the log folder.
        record: task, data and settings that made the results.
        curves: (epoch, value) of each logged key, such as `val/top1`, sorted by epoch, epochs from 1.
        last: last value of each logged key, such as `test/top1`.
        confusions: number of test images by (true class, predicted class); empty if the run wrote none.
        attributes: value of each class by attribute, such as `make`, as the test wrote them; empty if it knew none.
        predictions: table of the predictions of its test; None if the run wrote none.
    """

    name: str
    record: RunRecord
    curves: dict[str, list[tuple[int, float]]]
    last: dict[str, float]
    confusions: Confusions = field(default_factory=dict)
    attributes: Attributes = field(default_factory=dict)
    predictions: Path | None = None

    @property
    def is_tested(self) -> bool:
        """Whether test images were scored, by the head or by retrieval."""
        return "test/top1" in self.last or "test/retrieval/top_1" in self.last

    @property
    def is_partial(self) -> bool:
        """Whether only a part of the test images was scored."""
        return bool(self.record.scored_part)

    @property
    def scored_part(self) -> str:
        """Which part of the test images was scored, such as `8 of 16 images`; empty for all of them."""
        return self.record.scored_part


def read_runs(folder: str | Path) -> list[Run]:
    """Read all finished runs below a folder, sorted by name; each other run is skipped with a line on stderr.

    Args:
        folder: such as `lightning_logs`.

    Raises:
        InputError: the folder does not exist, or holds no finished run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder: name the folder of the runs")
    runs = []
    for path in sorted(folder.rglob("metrics.csv")):
        try:
            runs.append(_read(path.parent, folder))
        except InputError as error:
            print(f"skipped: {error}", file=sys.stderr)  # noqa: T201
    if not runs:
        raise InputError(f"no run below {str(folder)!r} is finished: `carsfg fit` writes its runs to lightning_logs")
    return runs


def _read(folder: Path, root: Path) -> Run:
    record = RunRecord.read(folder)
    try:
        curves, last = _metrics(_parts(folder))
        confusions = _confusions(folder / "confusions.csv")
        attributes = _attributes(folder / "per_class.csv")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{folder}: the files of the run are damaged ({error})") from error
    predictions = folder / PREDICTIONS if (folder / PREDICTIONS).is_file() else None
    run = Run(folder.relative_to(root).as_posix(), record, curves, last, confusions, attributes, predictions)
    if not run.is_tested:
        _check_finished(run, folder)
    return run


def _check_finished(run: Run, folder: Path) -> None:
    """Raise InputError if a run without a test was stopped; early stopping and a limit of steps end one regularly."""
    epochs = max((points[-1][0] for key, points in run.curves.items() if key.startswith(STAGES)), default=0)
    wanted, steps = run.record.trainer.get("max_epochs"), run.record.trainer.get("max_steps")
    may_end = any(path.partition("#")[0].endswith(".EarlyStopping") for path in run.record.callbacks)
    may_end = may_end or (isinstance(steps, int) and steps > 0)
    if epochs == 0 or not (may_end or (isinstance(wanted, int) and 0 < wanted <= epochs)):
        raise InputError(f"{folder}: the run was not tested, and has {epochs} of {wanted or 'unknown'} epochs")


def _parts(folder: Path) -> list[Path]:
    """Return the metrics files of a run in the order of their writing: each resumption starts a new one."""
    numbered = {path.stem.partition("-")[2]: path for path in folder.glob("metrics-*.csv")}
    earlier = [numbered[number] for number in sorted(filter(str.isdecimal, numbered), key=int)]
    return [*earlier, folder / "metrics.csv"]


def _metrics(paths: list[Path]) -> tuple[dict[str, list[tuple[int, float]]], dict[str, float]]:
    """Return the curves and the last values; of several rows for one key and epoch the last one counts."""
    by_epoch: dict[str, dict[int, float]] = {}
    last: dict[str, float] = {}
    for path in paths:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                for key, value in row.items():
                    if value and key not in NO_METRICS:
                        last[key] = float(value)
                        if row.get("epoch"):
                            by_epoch.setdefault(key, {})[int(row["epoch"]) + 1] = last[key]
    return {key: sorted(points.items()) for key, points in by_epoch.items()}, last


def _attributes(path: Path) -> Attributes:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name not in PER_CLASS]
    return {name: {row["class"]: row[name] for row in rows} for name in names}


def _confusions(path: Path) -> Confusions:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {(row["class"], row["predicted"]): int(row["images"]) for row in csv.DictReader(file)}

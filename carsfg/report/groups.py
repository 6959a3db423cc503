"""Groups: the repetitions of one recipe, with their mean metrics, curves and confusions."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from carsfg.report.confusions import parsed_attributes, per_class
from carsfg.report.differences import describe_unlike
from carsfg.report.paper import SHIPPED, VOTES, is_comparable
from carsfg.report.runs import Attributes, Confusions, Run
from carsfg.run_record import DRAWN_CARS, STANFORD_CARS, RunRecord


@dataclass(frozen=True)
class Group:
    """Runs with equal recipe hashes, one per seed.

    Attributes:
        runs: one or more; exactly one if only a part of the test images was scored.
        label: unique among the groups, such as `tl_exp1, resnet50 frozen, 224 px`.
    """

    runs: tuple[Run, ...]
    label: str

    @property
    def record(self) -> RunRecord:
        """What made all of the runs; seed, hardware and versions are those of the first."""
        return self.runs[0].record

    @property
    def experiment(self) -> str:
        """Name of the experiment, such as `tl_exp3`."""
        return self.record.experiment or self.runs[0].name

    @property
    def is_leaky(self) -> bool:
        """Whether validation was on copies of training images."""
        return self.record.protocol == "seed_leaky"

    @property
    def is_tested(self) -> bool:
        """Whether all runs were tested."""
        return all(run.is_tested for run in self.runs)

    @property
    def scored_part(self) -> str:
        """Which part of the test images was scored, such as `8 of 16 images`; empty for all of them."""
        return self.runs[0].scored_part

    @property
    def is_for_the_paper(self) -> bool:
        """Whether the runs belong to the paper's tables: experiments of carsfg, on all test images of Stanford Cars."""
        return self.experiment in SHIPPED and self.is_tested and is_comparable(self.record)

    @property
    def retrieves(self) -> bool:
        """Whether retrieval is the purpose of the runs, and not the classification by the head."""
        return str(self.record.task.get("class_path", "")).endswith("EmbeddingExtractor")

    @property
    def confusions(self) -> Confusions:
        """Number of images by (true class, predicted class), summed over the runs."""
        total: Counter[tuple[str, str]] = Counter()
        for run in self.runs:
            total.update(run.confusions)
        return dict(total)

    @property
    def names_are_cars(self) -> bool:
        """Whether class names tell make, body type and year; names of other data are never parsed."""
        return self.record.data_name in (STANFORD_CARS, DRAWN_CARS)

    @property
    def attributes(self) -> Attributes:
        """Value of each class by attribute, such as `make`; empty without any."""
        if self.names_are_cars:
            return parsed_attributes(per_class(self.confusions))
        return next((run.attributes for run in self.runs if run.attributes), {})

    @property
    def seeds(self) -> str:
        """Seeds of all runs, such as `0, 1, 2`."""
        return ", ".join(map(str, sorted({run.record.seed for run in self.runs})))

    def distinct(self, key: str) -> str:
        """List the distinct values of the runs; one value if all runs have the same.

        Args:
            key: `seed`, `hardware` or `versions`.
        """
        return "; ".join(sorted({str(getattr(run.record, key)) for run in self.runs}))

    def mean(self, key: str) -> tuple[float, float] | None:
        """Return the mean and the standard deviation (NaN for one run) of the last values; None without any.

        Args:
            key: such as `test/top1`.
        """
        return _mean([run.last[key] for run in self.runs if key in run.last])

    def validation(self, key: str) -> tuple[float, float] | None:
        """Return the mean and the standard deviation of a validation metric in the epoch whose weights were kept.

        That is the epoch in which the monitored metric was best, or else the last one.

        Args:
            key: such as `val/top1`.
        """
        monitored = self.record.chosen_on.rpartition(": ")[2]
        best = min if _is_minimised(self.record, monitored) else max
        found = []
        for run in self.runs:
            curve, chosen = dict(run.curves.get(key, [])), _numbers(run, monitored)
            if curve:
                epoch = best(chosen, key=lambda point: point[1])[0] if chosen else max(curve)
                found.append(curve.get(epoch, curve[max(curve)]))
        return _mean(found)

    def curve(self, key: str) -> list[tuple[int, float, float, float]]:
        """Return (epoch, mean, minimum, maximum) for each epoch that all runs have logged, epochs from 1.

        Values that are not a number are left out.

        Args:
            key: such as `val/top1`.
        """
        logged = [dict(_numbers(run, key)) for run in self.runs]
        epochs = sorted(set(logged[0]).intersection(*logged[1:]))
        values = {epoch: [points[epoch] for points in logged] for epoch in epochs}
        return [(epoch, sum(own) / len(own), min(own), max(own)) for epoch, own in values.items()]


def group(runs: Iterable[Run]) -> list[Group]:
    """Group repetitions, sorted in the order of the paper; other data than Stanford Cars come last.

    Args:
        runs: in any order.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.record.recipe_hash, []).append(run)
    parted = [runs for same in alike.values() for runs in _repetitions(same)]
    labels = _labels([runs[0] for runs in parted])
    groups = [Group(tuple(runs), label) for runs, label in zip(parted, labels, strict=True)]
    return sorted(
        groups, key=lambda one: (not one.record.is_stanford_cars, _place(one.experiment), one.experiment, one.label)
    )


def left_out(runs: Iterable[Run], groups: Iterable[Group]) -> list[str]:
    """Return one line per run of which no group shows anything: another run has its recipe and its seed.

    Args:
        runs: all runs that were read.
        groups: what `group` made of these runs.
    """
    shown = [run for one in groups for run in one.runs]
    names, curves = {run.name for run in shown}, {id(run.curves) for run in shown}
    return [
        f"left out: {run.name}, another run with its recipe and seed {run.record.seed} is shown"
        for run in runs
        if run.name not in names and id(run.curves) not in curves
    ]


def vote_of(one: Group) -> int | None:
    """Return the k of the k-NN classification to show: the paper's, or else the largest that was scored.

    Args:
        one: any group; None if it has no such metric.
    """
    starts = "test/retrieval/knn_"
    ks = [int(key.removeprefix(starts)) for key in one.runs[0].last if key.startswith(starts) and key[-1].isdigit()]
    wanted = VOTES.get(one.experiment)
    return wanted if wanted in ks else max(ks, default=None)


def _labels(runs: Sequence[Run]) -> list[str]:
    """Name experiment, network and image size, and for equal names the settings that differ, or else the run."""
    names = [_name(run) for run in runs]
    alike = {name: [run.record for run, other in zip(runs, names, strict=True) if other == name] for name in names}
    labels = [
        ", ".join(part for part in (name, describe_unlike(run.record, alike[name]), run.scored_part) if part)
        for run, name in zip(runs, names, strict=True)
    ]
    count = Counter(labels)
    return [f"{label} ({run.name})" if count[label] > 1 else label for run, label in zip(runs, labels, strict=True)]


def _name(run: Run) -> str:
    record = run.record
    data = [] if record.is_stanford_cars else [record.data_name]
    return ", ".join([record.experiment or run.name, record.network, f"{record.image_size} px", *data])


def _repetitions(runs: list[Run]) -> list[list[Run]]:
    """Return runs of one recipe to average, one per seed; a seed with only a partial test has its own group.

    Of equal runs with one seed the last one counts, `version_10` after `version_9`.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (_worth(run), _in_order(run))):
        by_seed.setdefault(run.record.seed, []).append(run)
    chosen = [_with_curves(same) for same in by_seed.values()]
    chosen.sort(key=_in_order)
    whole = [[run for run in chosen if run.is_tested is tested and not run.is_partial] for tested in (True, False)]
    return [same for same in whole if same] + [[run] for run in chosen if run.is_partial]


def _in_order(run: Run) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", run.name)]


def _worth(run: Run) -> tuple[bool, bool, int]:
    """Rank runs of one seed: a whole test before a partial one, then a training before a test of its checkpoint."""
    return run.is_tested and not run.is_partial, not run.is_partial, len(run.curves)


def _with_curves(runs: Sequence[Run]) -> Run:
    """Return the best of the runs of one seed; a test of a checkpoint takes the curves of the training before it."""
    best, trained = runs[-1], max(runs, key=lambda run: len(run.curves))
    if len(trained.curves) <= len(best.curves) or best.is_partial:
        return best
    return replace(best, curves=trained.curves, last=trained.last | best.last)


def _is_minimised(record: RunRecord, monitored: str) -> bool:
    """Return whether the smallest value of a metric is the best, by the `mode` of the callback that monitors it."""
    stopping = "EarlyStopping"  # it does not select a checkpoint
    monitoring = [
        one for path, one in record.callbacks.items() if one.get("monitor") == monitored and not path.endswith(stopping)
    ]
    if not monitoring:
        return monitored.endswith("loss")
    return bool(monitoring[0].get("mode", "min") == "min")  # ModelCheckpoint's default


def _numbers(run: Run, key: str) -> list[tuple[int, float]]:
    return [point for point in run.curves.get(key, []) if not math.isnan(point[1])]


def _mean(values: Sequence[float]) -> tuple[float, float] | None:
    values = [value for value in values if not math.isnan(value)]  # such as retrieval without a relevant image
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _place(experiment: str) -> int:
    return SHIPPED.index(experiment) if experiment in SHIPPED else len(SHIPPED)

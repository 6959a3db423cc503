"""Repetitions of one experiment: their mean figures, their curves and their mistakes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from carsfg.report.runs import Confusions, Run

NOT_MIXED_BY = ("seed", "hardware", "versions")  # runs that differ in these alone are repetitions of each other
REAL = "Stanford Cars"
VOTE_OF = {"ir_exp1": 3, "ir_exp2": 10, "ir_exp3": 7}  # neighbours that vote, as the report has it
PARTS = ("tl_", "ir_", "cnn_")  # of the report, in its order


@dataclass(frozen=True)
class Group:
    """Runs of one experiment whose stamps differ in seed, hardware or versions alone.

    Attributes:
        runs: one or more.
        label: what tells it from other groups, such as `tl_exp1, resnet50 frozen, 224 px`.
    """

    runs: tuple[Run, ...]
    label: str

    @property
    def experiment(self) -> str:
        """The config's name, such as `tl_exp3`."""
        return self.runs[0].experiment

    @property
    def stamp(self) -> dict[str, Any]:
        """What made all of the runs, and seed, hardware and versions of the first."""
        return self.runs[0].stamp

    @property
    def is_leaky(self) -> bool:
        """Whether validation was on copies of training images."""
        return self.stamp.get("protocol") == "seed_leaky"

    @property
    def is_real(self) -> bool:
        """Whether the images are those of Stanford Cars, so that the paper's figures may stand beside."""
        return self.stamp.get("data") == REAL

    @property
    def confusions(self) -> Confusions:
        """Images by true and predicted class, of all runs together."""
        total: Counter[tuple[str, str]] = Counter()
        for run in self.runs:
            total.update(run.confusions)
        return dict(total)

    def made_by(self, key: str) -> str:
        """List what the runs differ in.

        Args:
            key: `seed`, `hardware` or `versions`.
        """
        return "; ".join(sorted({str(run.stamp.get(key, "unknown")) for run in self.runs}))

    def mean(self, key: str) -> tuple[float, float] | None:
        """Return the mean of a test figure and, of several runs, its standard deviation (else not a number).

        Args:
            key: such as `test/top1`.
        """
        values = [run.test[key] for run in self.runs if key in run.test]
        if not values:
            return None
        mean = sum(values) / len(values)
        if len(values) < 2:
            return mean, math.nan
        return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

    def curve(self, key: str) -> list[tuple[int, float, float, float]]:
        """Return (epoch, mean, least, most) for each epoch that all runs have logged, epochs from 1.

        Args:
            key: such as `val/top1`.
        """
        logged = [dict(run.curves.get(key, [])) for run in self.runs]
        epochs = sorted(set(logged[0]).intersection(*logged[1:]))
        values = {epoch: [points[epoch] for points in logged] for epoch in epochs}
        return [(epoch, sum(own) / len(own), min(own), max(own)) for epoch, own in values.items()]


def group(runs: Iterable[Run]) -> list[Group]:
    """Put repetitions together, one run a seed, in the order of the report's parts; drawn cars come last.

    Args:
        runs: in any order.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        made = {key: value for key, value in run.stamp.items() if key not in NOT_MIXED_BY}
        own = sorted(made.items(), key=str) or run.name  # without a stamp nobody knows what is alike
        alike.setdefault(repr((run.experiment, own)), []).append(run)
    labels = Counter(_label(same[0]) for same in alike.values())
    groups = [
        Group(tuple(_one_a_seed(same)), _label(same[0]) + (f" ({same[0].name})" if labels[_label(same[0])] > 1 else ""))
        for same in alike.values()
    ]
    return sorted(groups, key=lambda one: (not one.is_real, _part(one.experiment), one.experiment, one.label))


def vote_of(one: Group) -> int | None:
    """Return for how many neighbours to show a group's vote: the report's k, or else the largest that was scored.

    Args:
        one: any group; None where nothing voted.
    """
    starts = "test/retrieval/knn_"
    ks = [int(key.removeprefix(starts)) for key in one.runs[0].test if key.startswith(starts) and key[-1].isdigit()]
    wanted = VOTE_OF.get(one.experiment)
    return wanted if wanted in ks else max(ks, default=None)


def network(made: Mapping[str, Any]) -> str:
    """Name a run's network, such as `resnet50 frozen`.

    Args:
        made: its hyper-parameters.
    """
    name = str(made.get("backbone") or "custom CNN")
    return f"{name} frozen" if made.get("freeze") else name


def _label(run: Run) -> str:
    data = run.stamp.get("data", "unknown data")
    size = f"{run.stamp.get('image_size')} px"
    return ", ".join([run.experiment, network(run.stamp), size, *([] if data == REAL else [str(data)])])


def _one_a_seed(runs: list[Run]) -> list[Run]:
    """Leave out what was merely tested again, or copied: it would pass for another repetition."""
    by_seed: dict[str, Run] = {}
    for run in sorted(runs, key=lambda one: len(one.curves)):  # those that were trained come last, and stay
        by_seed[str(run.stamp.get("seed"))] = run
    return [run for run in runs if run in by_seed.values()]


def _part(experiment: str) -> int:
    return next((place for place, prefix in enumerate(PARTS) if experiment.startswith(prefix)), len(PARTS))

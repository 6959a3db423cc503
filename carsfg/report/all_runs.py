"""Tables of all runs: what differs between them with their metrics, and the metrics of their retrieval."""

from collections.abc import Sequence

from carsfg.evaluation.glossary import RANKED, TITLES
from carsfg.report.differences import describe, differing_keys, short_names, values
from carsfg.report.formatting import percent
from carsfg.report.groups import Group, vote_of
from carsfg.report.table import TextTable

MAX_COLUMNS = 8  # of differing keys; further ones share a column
METRICS = {
    "test top-1": "test/top1", "test nearest": "test/retrieval/top_1", "test MAP@R": "test/retrieval/map_at_r",
    "val top-1": "val/top1", "val MAP@R": "val/retrieval/map_at_r",
}  # fmt: skip
SORTED = (
    "Best first, per data set: by test top-1 of the head; runs without a head by the nearest image; runs without a "
    "test by validation. Nearest: share of queries whose nearest image has their class (retrieval top-1). Validation "
    "metrics are from the epoch whose weights were kept. On copies: scored on copies of training images."
)
REPETITIONS = (
    "± is the standard deviation over seeds. Runs that differ only in seed, hardware or versions are repetitions, and "
    "only repetitions are averaged. Another number of processes or precision makes another recipe."
)
PARTIAL = "A test of a part of the images, such as 8 of 16, is not averaged and not compared with the paper."


def all_runs(groups: Sequence[Group]) -> TextTable:
    """Return the table of all runs, best first: network, the keys that differ, and metrics.

    Args:
        groups: all runs, as `carsfg.report.groups.group` returns them.
    """
    ranked = sorted(groups, key=_rank)
    keys = differing_keys([one.record for one in ranked])
    shown, names = keys[:MAX_COLUMNS], short_names(keys)
    others = [_others(one, ranked, shown) for one in ranked]
    metrics = [name for name, key in METRICS.items() if any(_value(one, key) for one in ranked)]
    data = ["data"] if len({one.record.data_name for one in ranked}) > 1 else []
    more = ["other keys"] if any(others) else []
    rows = [
        [
            _name(one),
            one.record.network,
            *[one.record.data_name for _ in data],
            *(_metric(one, METRICS[name]) for name in metrics),
            *values(one.record, shown).values(),
            *[other for _ in more],
            one.seeds,
        ]
        for one, other in zip(ranked, others, strict=True)
    ]
    columns = ["run", "network", *data, *metrics, *(names[key] for key in shown), *more, "seeds"]
    partial = [PARTIAL] if any(one.scored_part for one in ranked) else []
    return TextTable("All runs", columns, rows, [SORTED, REPETITIONS, *partial])


def retrieval_list(groups: Sequence[Group]) -> TextTable:
    """Return the table of the retrieval metrics of all runs that have some.

    Args:
        groups: all runs.
    """
    found = [one for one in groups if one.mean("test/retrieval/top_1")]
    found.sort(key=lambda one: (not one.record.is_stanford_cars, _gallery(one)))  # comparable rows are neighbours
    rows = [
        [
            one.label,
            *(percent(one.mean(f"test/retrieval/{key}")) for key in RANKED),
            _vote(one),
            one.record.metric or "",
            _protocol(one),
            one.seeds,
        ]
        for one in found
    ]
    note = "Queries are the test images; the query itself is never in its gallery."
    columns = ["run", *(TITLES[key] for key in RANKED), "k-NN vote", "metric", "protocol", "seeds"]
    return TextTable("Retrieval of all runs", columns, rows, [note])


def _rank(one: Group) -> tuple[object, ...]:
    tested = _value(one, "test/top1") or _value(one, "test/retrieval/top_1")
    validated = _value(one, "val/top1") or _value(one, "val/retrieval/top_1")
    score = (tested or validated or (0.0, 0.0))[0]
    real = (not one.record.is_stanford_cars, one.record.data_name)
    return *real, bool(one.scored_part), tested is None, -score, one.label


def _name(one: Group) -> str:
    """Name the run, or for several the experiment."""
    return one.runs[0].name if len(one.runs) == 1 else f"{one.experiment} ({len(one.runs)} runs)"


def _value(one: Group, key: str) -> tuple[float, float] | None:
    return one.validation(key) if key.startswith("val/") else one.mean(key)


def _metric(one: Group, key: str) -> str:
    shown = percent(_value(one, key))
    if shown and one.scored_part and key.startswith("test/"):
        return f"{shown}, {one.scored_part}"
    if shown and one.is_leaky and key.startswith("val/"):
        return f"{shown} on copies"
    return shown


def _others(one: Group, groups: Sequence[Group], shown: Sequence[str]) -> str:
    """Return what differs from the other runs of the experiment, except for the keys that have a column."""
    same = [other.record for other in groups if other.experiment == one.experiment]
    return describe(one.record, [key for key in differing_keys(same) if key not in shown])


def _vote(one: Group) -> str:
    k = vote_of(one)
    return f"k = {k}: {percent(one.mean(f'test/retrieval/knn_{k}'))}" if k else ""


def _gallery(one: Group) -> str:
    return str(one.record.data.get("retrieval", ""))


def _protocol(one: Group) -> str:
    data = "" if one.record.is_stanford_cars else f", {one.record.data_name}"
    return f"{one.record.protocol}, {_gallery(one)}{data}, {one.record.image_size} px"

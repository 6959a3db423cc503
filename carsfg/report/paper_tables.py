"""The report's Tables 2, 4 and 7 with the paper's figures beside ours, and a table of how all runs retrieve."""

import math
from collections.abc import Mapping, Sequence

from carsfg.evaluation.glossary import TITLES
from carsfg.report.groups import Group, network, vote_of
from carsfg.report.paper import IMAGE_SIZE, PAPER, RETRIEVAL, RETRIEVAL_MEANING, PaperRow, RetrievalRow
from carsfg.report.table import Summary

NOT_RUN = "not run"
UNLIKE = " *"
MADE = ["protocol", "chosen on", "seed", "hardware"]
CLASSIFICATION = [
    "experiment", "network", "paper", "ours, top-1", "difference", "F1 (paper)", "precision (paper)", "loss (paper)",
    *MADE,
]  # fmt: skip
VOTES = [
    "experiment", "network", "paper", "ours, accuracy", "difference", "k", "metric", "F1 (paper)", "precision (paper)",
    "fit s (paper)", "predict s (paper)", *MADE,
]  # fmt: skip
RANKED = ("top_1", "top_5", "top_10", "precision_10", "r_precision", "map_at_r", "map")
OURS = {"cnn_best": "the recipe was chosen on the hold-out; images grow from 64 pixels to the size given"}
Mean = tuple[float, float] | None


def summaries(groups: Sequence[Group]) -> list[Summary]:
    """Return the report's tables: transfer learning, retrieval, CNNs from random weights.

    Args:
        groups: all tested runs, as `group` puts them together.
    """
    return [
        _classification("Table 2: transfer learning", "tl_", groups),
        _votes(groups),
        _classification("Table 7: CNNs from random weights", "cnn_", groups),
    ]


def readme_tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return the report's tables as Markdown, by name, such as `Table 2`; drawn cars are left out.

    Args:
        groups: all tested runs.
    """
    tables = summaries([one for one in groups if one.is_real])
    return {table.title.partition(":")[0]: table.markdown() for table in tables}


def rankings(groups: Sequence[Group]) -> Summary:
    """Return a table of the retrieval figures of all runs that searched.

    Args:
        groups: all tested runs.
    """
    found = [one for one in groups if one.mean("test/retrieval/top_1")]
    found.sort(key=lambda one: (not one.is_real, str(one.stamp.get("retrieval"))))  # what can be compared lies together
    rows = [
        [one.label, *(_percent(one.mean(f"test/retrieval/{key}")) for key in RANKED), *_made(one, retrieval=True)]
        for one in found
    ]
    note = "Queries are the test images; a query itself is never among what is found. R: images of the query's class."
    return Summary(
        "Retrieval, of all runs that searched", ["run", *(TITLES[key] for key in RANKED), *MADE], rows, [note]
    )


def _classification(title: str, prefix: str, groups: Sequence[Group]) -> Summary:
    table = Summary(title, CLASSIFICATION, [])
    meant: dict[str, list[str]] = {}  # what the paper's figures mean: of which experiments
    for experiment, found in _experiments(prefix, PAPER, groups).items():
        paper = PAPER.get(experiment)
        stated = "" if paper is None else f"{paper.top1:.2f} %" + (", leaked" if paper.leaked else "")
        if paper is not None:
            meant.setdefault(paper.meaning, []).append(f"{experiment} ({paper.title})")
        for one in found:
            first = [experiment, network(one.stamp)]
            if one.is_leaky:  # what the paper scored, and below it what that is worth
                leaked, honest = f"copies of training images, {_size(one)}", f"official test images, {_size(one)}"
                table.rows.append([*first, stated, *_scores(one, "val", paper), leaked, *_made(one)[1:]])
                table.rows.append([*first, "", *_scores(one, "test", None), honest, *_made(one)[1:]])
            else:
                alike = None if paper is None or paper.leaked else paper
                table.rows.append([*first, stated, *_scores(one, "test", alike), *_made(one)])
        if not found:
            table.rows.append([experiment, "", stated, NOT_RUN, *[""] * (len(CLASSIFICATION) - 4)])
    table.notes = [
        "Ours: the official 8,041 test images, where no others are named; ± is the standard deviation over seeds; "
        "differences in percentage points, * where network, weights or image size are not the paper's; recall equals "
        "accuracy.",
        *(f"Paper, {', '.join(names)}: {meaning}." for meaning, names in meant.items()),
        *(f"{name}: {note}." for name, note in OURS.items() if any(name == row[0] for row in table.rows)),
    ]
    return table


def _votes(groups: Sequence[Group]) -> Summary:
    names = ", ".join(f"{experiment} {row.title}" for experiment, row in RETRIEVAL.items())
    note = f"Paper ({names}): {RETRIEVAL_MEANING}; ours: all test images, on other hardware. * and ± as above."
    table = Summary("Table 4: image retrieval", VOTES, [], [note])
    for experiment, found in _experiments("ir_", RETRIEVAL, groups).items():
        paper = RETRIEVAL.get(experiment)
        stated = f"{paper.top1:.2f} %" if paper else ""
        for one in found:
            vote = _vote(one, paper if one.is_real else None)
            table.rows.append([experiment, network(one.stamp), stated, *vote, *_made(one, retrieval=True)])
        if not found:
            table.rows.append([experiment, "", stated, NOT_RUN, *[""] * (len(VOTES) - 4)])
    return table


def _vote(one: Group, beside: RetrievalRow | None) -> list[str]:
    """Return accuracy, its difference to the paper's, k, F1, precision, and the seconds to fit and to predict."""
    k = vote_of(one)
    accuracy, f1, precision = (
        one.mean(f"test/retrieval/knn_{k}{score}") for score in ("", "_f1_weighted", "_precision_weighted")
    )
    return [
        _percent(accuracy),
        _points(accuracy, _of(beside, "top1")) + _unlike(one, beside),
        str(k or ""),
        str(one.stamp.get("metric", "")),
        _percent(f1, _of(beside, "f1_weighted")),
        _percent(precision, _of(beside, "precision_weighted")),
        _seconds(one.mean("test/retrieval/fit_s"), _of(beside, "fit_s")),
        _seconds(one.mean("test/retrieval/predict_s"), _of(beside, "predict_s")),
    ]


def _experiments(prefix: str, paper: Mapping[str, object], groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Sort groups by experiment; those of the paper come first, with or without runs."""
    names = [name for name in paper if name.startswith(prefix)]
    names += sorted({one.experiment for one in groups if one.experiment.startswith(prefix)} - set(names))
    return {name: [one for one in groups if one.experiment == name] for name in names}


def _scores(one: Group, split: str, paper: PaperRow | None) -> list[str]:
    """Return top-1, its difference to the paper's, F1, precision and loss."""
    beside = paper if one.is_real else None
    top1, f1, precision, loss = (
        one.mean(f"{split}/{key}") for key in ("top1", "f1_weighted", "precision_weighted", "loss")
    )
    return [
        _percent(top1),
        _points(top1, _of(beside, "top1")) + _unlike(one, beside),
        _percent(f1, _of(beside, "f1_weighted")),
        _percent(precision, _of(beside, "precision_weighted")),
        _number(loss, _of(beside, "loss")),
    ]


def _made(one: Group, retrieval: bool = False) -> list[str]:
    stamp = one.stamp
    protocol = str(stamp.get("protocol", "unknown")) + (f", {stamp.get('retrieval')}" if retrieval else "")
    where = "" if one.is_real else f", {stamp.get('data', 'unknown data')}"
    seeds = one.made_by("seed").replace(";", ",")
    return [f"{protocol}{where}, {_size(one)}", str(stamp.get("chosen_on", "unknown")), seeds, one.made_by("hardware")]


def _unlike(one: Group, paper: PaperRow | RetrievalRow | None) -> str:
    """Mark what is compared although network, weights or image size differ."""
    if paper is None:
        return ""
    same = (one.stamp.get("backbone") or "") == paper.backbone and one.stamp.get("image_size") == IMAGE_SIZE
    fetched = not str(one.stamp.get("weights", "")).endswith((".pt", ".pth"))
    return "" if same and fetched else UNLIKE


def _of(paper: PaperRow | RetrievalRow | None, key: str) -> float | None:
    return None if paper is None else float(getattr(paper, key))


def _size(one: Group) -> str:
    return f"{one.stamp.get('image_size')} px"


def _percent(value: Mean, paper: float | None = None) -> str:
    if value is None:
        return ""
    mean, deviation = value
    shown = f"{100 * mean:.2f} %" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")
    return shown if paper is None else f"{shown} ({paper:.2f})"


def _number(value: Mean, paper: float | None = None) -> str:
    if value is None:
        return ""
    return f"{value[0]:.4f}" if paper is None else f"{value[0]:.4f} ({paper:.4f})"


def _seconds(value: Mean, paper: float | None) -> str:
    shown = "" if value is None else f"{value[0]:.2g}"
    return f"{shown} ({paper:.2g})" if shown and paper is not None else shown


def _points(value: Mean, paper: float | None) -> str:
    return "" if value is None or paper is None else f"{100 * value[0] - paper:+.2f}"

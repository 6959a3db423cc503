"""The paper's Tables 2, 4 and 7 with its numbers beside those of the runs, and a short table of results."""

from collections.abc import Sequence

from carsfg.report.formatting import number, percent, points, seconds
from carsfg.report.groups import Group, vote_of
from carsfg.report.paper import (
    IMAGE_SIZE,
    PAPER,
    RETRIEVAL,
    RETRIEVAL_MEANING,
    TABLES,
    PaperRow,
    RetrievalRow,
    paper_row,
    retrieval_row,
)
from carsfg.report.table import TextTable

NOT_RUN = "not run"
MACRO = "macro F1"  # which the paper does not state; only in tables of runs that have it
UNLIKE = " *"  # mark of a difference to the paper although network, weights or image size differ
CONDITIONS = ["protocol", "chosen on", "seed", "hardware"]
CLASSIFICATION = [
    "experiment", "network", "paper", "ours, top-1", "difference", "F1 (paper)", MACRO, "precision (paper)",
    "loss (paper)", *CONDITIONS,
]  # fmt: skip
VOTE = [
    "experiment", "network", "paper", "ours, accuracy", "difference", "k", "metric", "F1 (paper)", MACRO,
    "precision (paper)", "fit s (paper)", "predict s (paper)", *CONDITIONS,
]  # fmt: skip
RESULTS = ["experiment", "network", "images", "paper", "ours", "scored on"]
OURS = {"cnn_best": "the recipe was chosen on the hold-out; images grow from 64 pixels to the size given"}
TITLES = {"Table 2": "transfer learning", "Table 4": "image retrieval", "Table 7": "CNNs from random weights"}


def paper_tables(groups: Sequence[Group]) -> list[TextTable]:
    """Return the paper's tables: transfer learning, retrieval, CNNs from random weights.

    Only tests on all test images of the real Stanford Cars, under the paper's protocols, stand in them.

    Args:
        groups: all runs, as `group` returns them.
    """
    return [_classification("Table 2", groups), _votes(groups), _classification("Table 7", groups)]


def readme_tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return the tables for the markers of README.md and docs/results.md as Markdown, by name.

    The names are `Results` (six columns), `Table 2`, `Table 4` and `Table 7`.

    Args:
        groups: all runs.
    """
    tables = {table.title.partition(":")[0]: table for table in (results(groups), *paper_tables(groups))}
    return {name: table.markdown() for name, table in tables.items()}


def results(groups: Sequence[Group]) -> TextTable:
    """Return a table of six columns: accuracy of the shipped experiments beside the paper's.

    Args:
        groups: all runs.
    """
    note = (
        "Accuracy on the official 8,041 test images, for retrieval (ir_) that of the k-NN vote; leaked: on copies of "
        "training images; ± is the standard deviation over seeds."
    )
    table = TextTable("Results", RESULTS, [], [note])
    for name, experiments in TABLES.items():
        for experiment in experiments:
            for one in _found(experiment, groups):
                table.rows += _votes_in_short(one) if name == "Table 4" else _accuracy_in_short(one)
    return table


def _accuracy_in_short(one: Group) -> list[list[str]]:
    first, paper = [one.experiment, one.record.network, _size(one)], paper_row(one.record)
    stated, test = _stated(paper), [percent(one.mean("test/top1")), "test images"]
    if one.is_leaky:
        leaked = [percent(one.validation("val/top1")), "copies of training images"]
        return [[*first, stated, *leaked], [*first, "", *test]]
    return [[*first, stated, *test]]


def _votes_in_short(one: Group) -> list[list[str]]:
    k = vote_of(one)
    stated, accuracy = _stated(retrieval_row(one.record)), percent(one.mean(f"test/retrieval/knn_{k}"))
    return [[one.experiment, f"{one.record.network}, k = {k}", _size(one), stated, accuracy, "test images"]]


def _stated(paper: PaperRow | RetrievalRow | None) -> str:
    leaked = ", leaked" if getattr(paper, "leaked", False) else ""
    return "" if paper is None else f"{paper.top1:.2f} %{leaked}"


def _classification(name: str, groups: Sequence[Group]) -> TextTable:
    table = TextTable(f"{name}: {TITLES[name]}", CLASSIFICATION, [])
    meant: dict[str, list[str]] = {}  # meanings of the paper's numbers, each with its experiments
    for experiment in TABLES[name]:
        if experiment in PAPER:
            meant.setdefault(PAPER[experiment].meaning, []).append(f"{experiment} ({PAPER[experiment].title})")
        for one in _found(experiment, groups):
            table.rows += _accuracy_rows(one)
        table.rows += _rows_not_run(experiment, groups, table)
    table.notes = [
        "Ours: the official 8,041 test images, where no others are named; ± is the standard deviation over seeds; "
        "differences in percentage points, * where network, weights or image size are not the paper's; recall equals "
        "accuracy.",
        *(f"Paper, {', '.join(names)}: {meaning}." for meaning, names in meant.items()),
        *(f"{name}: {note}." for name, note in OURS.items() if any(name == row[0] for row in table.rows)),
    ]
    return _without_empty_macro(table)


def _accuracy_rows(one: Group) -> list[list[str]]:
    """Return the row of a group; under `seed_leaky` one of the copies, as in the paper, and one of the test images."""
    first, paper = [one.experiment, one.record.network], paper_row(one.record)
    stated = _stated(paper)
    if one.is_leaky:
        leaked, honest = f"copies of training images, {_size(one)}", f"official test images, {_size(one)}"
        return [
            [*first, stated, *_scores(one, "val", paper), leaked, *_conditions(one)[1:]],
            [*first, "", *_scores(one, "test", None), honest, *_conditions(one)[1:]],
        ]
    beside = None if paper is None or paper.leaked else paper
    return [[*first, stated, *_scores(one, "test", beside), *_conditions(one)]]


def _votes(groups: Sequence[Group]) -> TextTable:
    names = ", ".join(f"{experiment} {row.title}" for experiment, row in RETRIEVAL.items())
    note = (
        f"Paper ({names}): {RETRIEVAL_MEANING}; ours: all test images, on other hardware. fit: preparing the gallery; "
        "predict: search and vote. * and ± as above."
    )
    table = TextTable(f"Table 4: {TITLES['Table 4']}", VOTE, [], [note])
    for experiment in TABLES["Table 4"]:
        for one in _found(experiment, groups):
            paper = retrieval_row(one.record)
            made = _conditions(one, retrieval=True)
            table.rows.append([experiment, one.record.network, _stated(paper), *_vote(one, paper), *made])
        table.rows += _rows_not_run(experiment, groups, table)
    return _without_empty_macro(table)


def _without_empty_macro(table: TextTable) -> TextTable:
    """Remove the column of macro F1 if no run has it: earlier versions did not compute that of votes."""
    place = table.columns.index(MACRO)
    if not any(row[place] for row in table.rows):
        table.columns = [*table.columns[:place], *table.columns[place + 1 :]]
        table.rows = [[*row[:place], *row[place + 1 :]] for row in table.rows]
    return table


def _rows_not_run(experiment: str, groups: Sequence[Group], table: TextTable) -> list[list[str]]:
    """Return the row of an experiment of the paper that has no run."""
    paper = PAPER.get(experiment) or RETRIEVAL.get(experiment)
    if paper is None or _found(experiment, groups):
        return []
    return [[experiment, "", _stated(paper), NOT_RUN, *[""] * (len(table.columns) - 4)]]


def _vote(one: Group, paper: RetrievalRow | None) -> list[str]:
    """Return accuracy, its difference to the paper's, k, metric, F1, macro F1, precision, and times."""
    k = vote_of(one)
    accuracy, f1, macro, precision = (
        one.mean(f"test/retrieval/knn_{k}{score}") for score in ("", "_f1_weighted", "_f1_macro", "_precision_weighted")
    )
    return [
        percent(accuracy),
        points(accuracy, _of(paper, "top1")) + _unlike(one, paper),
        str(k or ""),
        one.record.metric or "",
        percent(f1, _of(paper, "f1_weighted")),
        percent(macro),
        percent(precision, _of(paper, "precision_weighted")),
        seconds(one.mean("test/retrieval/fit_s"), _of(paper, "fit_s")),
        seconds(one.mean("test/retrieval/predict_s"), _of(paper, "predict_s")),
    ]


def _found(experiment: str, groups: Sequence[Group]) -> list[Group]:
    return [one for one in groups if one.experiment == experiment and one.is_for_the_paper]


def _scores(one: Group, split: str, paper: PaperRow | None) -> list[str]:
    """Return top-1, its difference to the paper's, F1, macro F1, precision and loss."""
    mean = one.validation if split == "val" else one.mean
    top1, f1, macro, precision, loss = (
        mean(f"{split}/{key}") for key in ("top1", "f1_weighted", "f1_macro", "precision_weighted", "loss")
    )
    return [
        percent(top1),
        points(top1, _of(paper, "top1")) + _unlike(one, paper),
        percent(f1, _of(paper, "f1_weighted")),
        percent(macro),
        percent(precision, _of(paper, "precision_weighted")),
        number(loss, _of(paper, "loss")),
    ]


def _conditions(one: Group, retrieval: bool = False) -> list[str]:
    protocol = one.record.protocol + (f", {one.record.data.get('retrieval')}" if retrieval else "")
    return [f"{protocol}, {_size(one)}", one.record.chosen_on, one.seeds, one.distinct("hardware")]


def _unlike(one: Group, paper: PaperRow | RetrievalRow | None) -> str:
    """Mark a difference to the paper if network, weights or image size differ."""
    if paper is None:
        return ""
    same = (one.record.task.get("backbone") or "") == paper.backbone and one.record.image_size == IMAGE_SIZE
    fetched = not one.record.weights.endswith((".pt", ".pth", ".safetensors"))
    return "" if same and fetched else UNLIKE


def _of(paper: PaperRow | RetrievalRow | None, key: str) -> float | None:
    return None if paper is None else float(getattr(paper, key))


def _size(one: Group) -> str:
    return f"{one.record.image_size} px"

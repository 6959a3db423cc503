"""Tables in the terminal: the test metrics of a run, the paper's row above them where it is comparable."""

import re
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from carsfg.evaluation.glossary import RANKED, TITLES
from carsfg.report.formatting import number, percent
from carsfg.report.paper import RETRIEVAL_MEANING, PaperRow, RetrievalRow, paper_row, retrieval_row
from carsfg.run_record import RunRecord

CLASSIFICATION = {
    "loss": "loss",
    "f1_weighted": "F1",
    "f1_macro": "macro F1",
    "precision_weighted": "precision",
    "top1": "accuracy",
}
VOTE = {
    "f1_weighted": "F1",
    "f1_macro": "macro F1",
    "top1": "accuracy",
    "precision_weighted": "precision",
    "fit_s": "fit s",
    "predict_s": "predict s",
}
SHARES = ("f1_weighted", "f1_macro", "top1", "precision_weighted")  # of VOTE; the others are seconds
FURTHER = ("top5",)
# the other keys of a test without a further `/` are attributes
METRIC = re.compile(r"test/(?:loss|top\d|(?:precision|recall|f1)_\w+)$")
MISSING = "-"


def print_test_table(record: RunRecord, metrics: Mapping[str, float]) -> None:
    """Print the test metrics of a run in the columns of the paper's Tables 2 and 7.

    Macro F1 stands in place of weighted recall, which equals accuracy.

    The paper's row stands above them only if data and protocol are the paper's and all test images were scored. Under
    `seed_leaky` the validation metrics are shown too, as those of copies of training images.

    Args:
        record: run record of the printed metrics.
        metrics: by key, such as `test/top1`; shares in 0..1.
    """
    table = _table(f"{_name(record)}: test, protocol {record.protocol} on {_data(record)}", CLASSIFICATION)
    paper = paper_row(record)
    if paper is not None and paper.protocol != record.protocol:
        paper = None
    if paper is not None:
        table.add_row("the paper *", number(paper.loss), *_stated(paper, list(CLASSIFICATION)[1:]))
    if record.protocol == "seed_leaky" and "val/top1" in metrics:
        table.add_row("this run, leaked: copies of training images", *_cells(metrics, "val"))
        table.add_row("this run, honest: test images", *_cells(metrics, "test"))
    else:
        table.add_row("this run", *_cells(metrics, "test"))
    console = Console(markup=False, emoji=False)
    console.print(table)
    further = {key: metrics.get(f"test/{key}") for key in FURTHER}
    further |= {key[5:]: metrics[key] for key in metrics if re.match(r"test/[^/]+$", key) and not METRIC.match(key)}
    console.print("  ".join(f"{key} {percent(value, missing=MISSING)}" for key, value in further.items()))
    if paper is not None:
        console.print(f"* {paper.title}: {paper.meaning}.")
    start = f"weights {record.weights}, chosen on {record.chosen_on}, seed {record.seed}"
    console.print(f"{start}, {record.training_length}, {record.precision}, {record.hardware}")


def print_retrieval_table(record: RunRecord, metrics: Mapping[str, float]) -> None:
    """Print the k-NN votes of a run in the columns of the paper's Table 4, and the metrics of its ranking below.

    Macro F1 stands in place of weighted recall, which equals accuracy.

    Nothing is printed if there are no retrieval metrics.

    Args:
        record: run record of the printed metrics.
        metrics: by key, such as `test/retrieval/map`; shares in 0..1, times in seconds.
    """
    start = "test/retrieval/"
    found = {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}
    if not found:
        return
    where = f"{record.data.get('retrieval')} by {record.metric} on {_data(record)}"
    table = _table(f"{_name(record)}: k-NN and retrieval, {where}", VOTE)
    paper = retrieval_row(record)
    if paper is not None:
        table.add_row("the paper *", *_stated(paper, SHARES), number(paper.fit_s), number(paper.predict_s))
    for k in sorted(int(key[4:]) for key in found if key.startswith("knn_") and key[4:].isdigit()):
        votes = [found.get(f"knn_{k}" if key == "top1" else f"knn_{k}_{key}") for key in SHARES]
        seconds = [number(found.get(key), missing=MISSING) for key in ("fit_s", "predict_s")]
        table.add_row(f"this run, k={k}", *(percent(vote, missing=MISSING) for vote in votes), *seconds)
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print("  ".join(f"{TITLES[key]} {percent(found.get(key), missing=MISSING)}" for key in RANKED))
    if found.get("left_out"):
        what, are = ("query", "is") if found["left_out"] == 1 else ("queries", "are")
        console.print(f"{found['left_out']:.0f} {what} without a relevant image {are} left out of these.")
    if paper is not None:
        console.print(f"* {paper.title}: {RETRIEVAL_MEANING}.")


def _table(title: str, columns: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns.values():
        table.add_column(name, justify="right")
    return table


def _stated(paper: PaperRow | RetrievalRow, keys: Iterable[str]) -> list[str]:
    """Return the paper's shares; it states no macro means."""
    return [percent(getattr(paper, key) / 100) if hasattr(paper, key) else "" for key in keys]


def _data(record: RunRecord) -> str:
    """Name the data, and the scored part of the test images if it is not the whole."""
    return ", ".join(filter(None, (record.data_name, record.scored_part)))


def _name(record: RunRecord) -> str:
    return record.experiment or record.network


def _cells(metrics: Mapping[str, float], split: str) -> list[str]:
    loss, *shares = (metrics.get(f"{split}/{key}") for key in CLASSIFICATION)
    return [number(loss, missing=MISSING), *(percent(share, missing=MISSING) for share in shares)]

"""The table of `carsfg evaluate`: every figure with its interval, and below it what each of them means."""

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from carsfg.retrieval.bootstrap import RESAMPLES, SHARE
from carsfg.retrieval.evaluation import Row

TITLES = {
    "head_top_1": "head top-1",
    "linear_probe": "linear probe",
    "top_1": "top-1",
    "top_5": "top-5",
    "top_10": "top-10",
    "precision_10": "precision@10",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "map": "mAP",
}
NEAREST = {"cosine": "of the highest cosine similarity", "euclidean": "at the smallest Euclidean distance"}
PROTOCOLS = {
    "official": "networks, votes and probes learn from all of cars_train; cars_test is scored",
    "closed_train_gallery": "each image of cars_test is searched in all of cars_train",
    "closed_loo": "each image of cars_test is searched among the others",
    "zero_shot": "each image of the second half of the classes, of both folders, is searched among the others; only for "
    "checkpoints trained on the first half",
}


def print_evaluation(rows: Sequence[Row], title: str, metric: str, knn: int, notes: Iterable[str]) -> None:
    """Print figures as `value [low, high]` in percent, protocol below protocol, and their definitions.

    Args:
        rows: all figures.
        title: stands above the table.
        metric: `cosine` or `euclidean`.
        knn: how many neighbours voted.
        notes: lines to print last: what made the network, and what it was scored with.
    """
    console = Console(markup=False, highlight=False)
    console.print(_table(rows, title))
    definitions = Table.grid(padding=(0, 2, 0, 0))
    definitions.add_column(no_wrap=True)
    definitions.add_column(overflow="fold")
    for name, meaning in _definitions(rows, metric, knn).items():
        definitions.add_row(name, meaning)
    console.print(definitions)
    for note in notes:
        console.print(note)


def _table(rows: Sequence[Row], title: str) -> Table:
    """Lay out a column for each choice of images, and a row for each figure, under its protocol."""
    columns = list(dict.fromkeys(row.images for row in rows))
    cells = {(row.images, row.protocol, row.figure): row for row in rows}
    table = Table("in %", *columns, title=title, title_justify="left")
    for protocol in dict.fromkeys(row.protocol for row in rows):
        figures = list(dict.fromkeys(row.figure for row in rows if row.protocol == protocol))
        heads = [cells[column, protocol, figures[0]] for column in columns]
        table.add_row(protocol, *map(_extent, heads), style="bold")
        for figure in figures:
            last = figure == figures[-1]
            shown = [_cell(cells[column, protocol, figure]) for column in columns]
            table.add_row(f"  {_title(figure)}", *shown, end_section=last)
    return table


def _title(figure: str) -> str:
    return TITLES.get(figure) or figure.replace("knn_", "k-NN, k = ")


def _extent(row: Row) -> str:
    if row.protocol == "official":
        return f"{row.queries:,} images"
    return f"{row.queries:,} in {row.gallery:,}"


def _cell(row: Row) -> str:
    if math.isnan(row.value):
        return "-"
    return f"{100 * row.value:.2f} [{100 * row.low:.2f}, {100 * row.high:.2f}]"


def _definitions(rows: Sequence[Row], metric: str, knn: int) -> Mapping[str, str]:
    """Say what is in the table, and what is not, a line each."""
    share = f"{100 * SHARE:.0f} % interval of {RESAMPLES:,} resamples of the queries (percentile bootstrap)"
    definitions = {"value [low, high]": f"mean over the queries, and {share}; network and gallery stay as they are"}
    shown = {row.protocol for row in rows}
    definitions |= {name: meaning for name, meaning in PROTOCOLS.items() if name in shown or name == "zero_shot"}
    if "official" in shown:
        definitions |= {
            "head top-1": "share of images for whose class the network's own last layer has the largest logit",
            _title(f"knn_{knn}"): f"the class of most of the {knn} nearest; of equally many, the first in label order",
            "linear probe": "logistic regression on standardised embeddings, its L2 penalty chosen on a tenth of train",
        }
    return definitions | {
        "top-k": "share of queries with an image of their class among the first k (Recall@k)",
        "precision@10": "share of images of the query's class among the first 10",
        "R-precision": "the same among the first R, where R images of its class can be found",
        "MAP@R": "(1/R) sum over ranks i <= R of precision@i where the image at i is of its class, else 0",
        "mAP": "the same over the whole ranking",
        "nearest": f"{NEAREST[metric]}; ties by place in the gallery; a query itself is left out by its place",
    }

"""The table of `carsfg evaluate`: every figure with its interval, and below it what each of them means."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from carsfg.evaluation.glossary import PROTOCOLS, RANKINGS, TITLES
from carsfg.evaluation.scores import WITHOUT_TWINS, Row

NO_ZERO_SHOT = "not shown: only for checkpoints trained on the first half of the classes"
NEAREST = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}


def print_evaluation(rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Print figures as `value [low, high]` in percent, protocol below protocol, their definitions, and what was scored.

    Args:
        rows: all figures.
        facts: what was scored and how, as `carsfg evaluate --json` writes it.
    """
    console = Console(markup=False, highlight=False)
    title = f"{facts['task']} trained under {facts['protocol']}, scored on {facts['data']}"
    console.print(_table(rows, title))
    below = Table.grid(padding=(0, 2, 0, 0))
    below.add_column(no_wrap=True)
    below.add_column(overflow="fold")
    for name, meaning in (_definitions(rows, facts) | _notes(rows, facts)).items():
        below.add_row(name, meaning)
    console.print(below)


def _table(rows: Sequence[Row], title: str) -> Table:
    """Lay out a column for each choice of images, and a row for each figure, under its protocol."""
    columns = list(dict.fromkeys(row.images for row in rows))
    cells = {(row.images, row.protocol, row.figure): row for row in rows}
    table = Table("in %", *columns, title=title, title_justify="left")
    for protocol in dict.fromkeys(row.protocol for row in rows):
        figures = list(dict.fromkeys(row.figure for row in rows if row.protocol == protocol))
        table.add_row(protocol, *(_extent(cells[column, protocol, figures[0]]) for column in columns), style="bold")
        for figure in figures:
            shown = [_cell(cells[column, protocol, figure]) for column in columns]
            table.add_row(f"  {_title(figure)}", *shown, end_section=figure == figures[-1])
    return table


def _title(figure: str) -> str:
    return TITLES.get(figure) or figure.replace("knn_", "k-NN, k = ")


def _extent(row: Row) -> str:
    return f"{row.queries:,} images" if row.protocol == "official" else f"{row.queries:,} in {row.gallery:,}"


def _cell(row: Row) -> str:
    if math.isnan(row.value):
        return "-"
    value, low, high = (f"{100 * one:5.2f}" for one in (row.value, row.low, row.high))
    return f"{value} [{low}, {high}]"


def _definitions(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, str]:
    """Say what is in the table, and what is not, a line each."""
    shown, knn = {row.protocol for row in rows}, facts["knn"]
    interval = f"{100 * facts['interval']:.0f} % interval: percentile bootstrap, {facts['resamples']:,} resamples"
    definitions = {"value [low, high]": f"mean over queries, and {interval}"}
    definitions |= {name: meaning for name, meaning in PROTOCOLS.items() if name in shown}
    definitions |= {} if "zero_shot" in shown else {"zero_shot": NO_ZERO_SHOT}
    if "official" in shown:
        strength = facts["probe_strength"]
        definitions |= {
            "head top-1": "the network's own last layer has its largest logit for the right class",
            _title(f"knn_{knn}"): f"the class of most of the {knn} nearest in cars_train is right; ties: lowest label",
            "linear probe": f"logistic regression on standardised embeddings; L2 {strength:g}, by hold-out of train",
        }
    nearest = f"by {NEAREST[facts['metric']]}, ties by gallery index; a query itself left out by index"
    return definitions | RANKINGS | {"nearest": nearest}


def _notes(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, str]:
    """Say what was left out, what made the network, and what scored it."""
    stamp, begun, here = facts["stamp"], facts["began_in_unknown"], facts["split_hash"]
    notes = {WITHOUT_TWINS: _twins(facts["twins"]), "nothing to find": _nothing_to_find(rows)}
    if facts["protocol"] == "zero_shot":
        notes["no head"] = "nor k-NN nor linear probe: the network knows none of the classes it is tested with"
        if begun:
            notes["beware"] = f"began in {begun}, which is not there: if that knew all classes, this is not zero-shot"
    if facts["protocol"] == "seed_leaky":
        notes["seed_leaky"] = "its validation figures are of copies of training images; those above are honest"
    if stamp.get("split_hash", here) != here:
        notes["other files"] = f"the images or splits (hash {here}) are not those of training ({stamp['split_hash']})"
    made = f"weights {stamp.get('weights')}, chosen on {stamp.get('chosen_on')}, seed {stamp.get('seed')}"
    notes["trained"] = f"{made}, {stamp.get('max_epochs')} epochs, {stamp.get('precision')}" if stamp else "no stamp"
    size = f"{facts['image_size']} pixels, {facts['precision']}, {facts['device']}"
    return notes | {"scored": f"{size}, {facts['checkpoint']}"}


def _twins(counts: Mapping[str, int]) -> str:
    if not sum(counts.values()):
        return "no two image files are byte-identical"
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return f"{listed} left out of all: another file has their bytes"


def _nothing_to_find(rows: Sequence[Row]) -> str:
    counts = {(row.protocol, row.images): row.left_out for row in rows if row.left_out}
    listed = [f"{count} in {protocol}, {images}" for (protocol, images), count in counts.items()]
    return f"queries left out: {'; '.join(listed)}" if listed else "no query"

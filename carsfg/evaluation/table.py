"""The table of `carsfg evaluate`: each score with its interval, and the definitions of all scores below."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from carsfg.evaluation.glossary import PROTOCOLS, RANKINGS, TITLES
from carsfg.evaluation.scores import WITHOUT_DUPLICATES, Row

NO_ZERO_SHOT = "not shown: only for checkpoints trained on the first half of the classes"
AMONG_THEMSELVES = ("closed_loo", "zero_shot")  # protocols whose queries are also the gallery
NEAREST = {"cosine": "cosine similarity", "euclidean": "Euclidean distance"}


def print_evaluation(rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Print scores as `value [low, high]` in percent by protocol, then their definitions and how they were computed.

    Args:
        rows: all scores.
        facts: checkpoint, data and settings, as `carsfg evaluate --json` writes them.
    """
    console = Console(markup=False, highlight=False)
    made = facts["pretrained"] or f"{facts['task']} trained under {facts['protocol']}"
    console.print(_table(rows, f"{made}, scored on {facts['data']}"))
    below = Table.grid(padding=(0, 2, 0, 0))
    below.add_column(no_wrap=True)
    below.add_column(overflow="fold")
    for name, meaning in (_definitions(rows, facts) | _notes(rows, facts)).items():
        below.add_row(name, meaning)
    console.print(below)


def _table(rows: Sequence[Row], title: str) -> Table:
    """Make a column per selection of images, and a row per score under its protocol."""
    columns = list(dict.fromkeys(row.images for row in rows))
    cells = {(row.images, row.protocol, row.score): row for row in rows}
    table = Table("in %", *columns, title=title, title_justify="left")
    for protocol in dict.fromkeys(row.protocol for row in rows):
        scores = list(dict.fromkeys(row.score for row in rows if row.protocol == protocol))
        table.add_row(protocol, *(_extent(cells[column, protocol, scores[0]]) for column in columns), style="bold")
        for score in scores:
            shown = [_cell(cells[column, protocol, score]) for column in columns]
            table.add_row(f"  {_title(score)}", *shown, end_section=score == scores[-1])
    return table


def _title(score: str) -> str:
    return TITLES.get(score) or score.replace("knn_", "k-NN, k = ")


def _extent(row: Row) -> str:
    return f"{row.queries:,} images" if row.protocol == "official" else f"{row.queries:,} in {row.gallery:,}"


def _cell(row: Row) -> str:
    if math.isnan(row.value):
        return "-"
    value, low, high = (f"{100 * one:5.2f}" for one in (row.value, row.low, row.high))
    return f"{value} [{low}, {high}]"


def _definitions(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the definition of each score in the table, by name."""
    shown, knn = {row.protocol for row in rows}, facts["knn"]
    interval = f"mean over queries, and {100 * facts['interval']:.0f} % bootstrap interval"
    definitions = {"value [low, high]": f"{interval}; {_resampling(rows)}"}
    definitions |= {name: meaning for name, meaning in PROTOCOLS.items() if name in shown}
    definitions |= {} if "zero_shot" in shown else {"zero_shot": NO_ZERO_SHOT}
    if "official" in shown:
        strength = facts["probe_strength"]
        if facts["has_head"]:
            definitions["head top-1"] = "share of images whose largest logit is that of their class"
        definitions |= {
            _title(
                f"knn_{knn}"
            ): f"share of images whose class wins the vote of the {knn} nearest training images; ties: lowest label",
            "linear probe": f"logistic regression on standardised embeddings; L2 {strength:g}, chosen on a hold-out",
        }
    nearest = f"by {NEAREST[facts['metric']]}, ties by gallery index; the query itself is excluded by its index"
    return definitions | RANKINGS | {"nearest": nearest}


def _resampling(rows: Sequence[Row]) -> str:
    """Say what the intervals resample: the queries alone, or with them the gallery that they are searched in."""
    alone = "percentiles of {} resamples of the queries"
    joint = "percentiles of {} resamples of queries and gallery together, centred on the value"
    parts: dict[str, str] = {}
    for row in rows:
        words = (joint if row.protocol in AMONG_THEMSELVES else alone).format(f"{row.resamples:,}")
        parts.setdefault(row.protocol, words)
    protocols = {words: [name for name, own in parts.items() if own == words] for words in parts.values()}
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in protocols.items())


def _notes(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, str]:
    """Return remarks on excluded images, on the training of the network, and on the settings of the evaluation."""
    trained, begun, here = facts["trained"], facts["unknown_start"], facts["split_hash"]
    notes = {WITHOUT_DUPLICATES: _duplicates(facts["duplicates"]), "no relevant image": _left_out(rows)}
    if not facts["has_head"]:
        notes["no head"] = "no head top-1: the network has no head for these classes"
    if facts["protocol"] == "zero_shot":
        notes["no head"] = "no k-NN and no linear probe either: none of the tested classes were learned"
        if begun:
            notes["warning"] = (
                f"initialised from {begun}, which is missing: not zero-shot if that was trained on all classes"
            )
    if facts["protocol"] == "seed_leaky":
        notes["seed_leaky"] = (
            "its validation metrics are of copies of training images; the scores above are of test images"
        )
    if trained.get("split_hash", here) != here:
        notes["other files"] = f"images or splits (hash {here}) differ from those of training ({trained['split_hash']})"
    made = "weights {weights}, chosen on {chosen_on}, seed {seed}, {length}, {precision}"
    known = defaultdict(lambda: "unknown", {"length": "unknown epochs"} | dict(trained))
    without = "not on this data: the network is as it was published" if facts["pretrained"] else "no run record"
    notes["trained"] = made.format_map(known) if trained else without
    size = f"{facts['image_size']} pixels, {facts['precision']}, {facts['device']}"
    return notes | {"scored": f"{size}, {facts['checkpoint']}"}


def _duplicates(counts: Mapping[str, int]) -> str:
    if not counts:
        return "the files are not known, so duplicates are not left out"
    if not sum(counts.values()):
        return "no two image files are byte-identical"
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return f"{listed} are left out: another file has the same bytes"


def _left_out(rows: Sequence[Row]) -> str:
    counts = {(row.protocol, row.images): row.left_out for row in rows if row.left_out}
    listed = [f"{count} in {protocol}, {images}" for (protocol, images), count in counts.items()]
    return f"queries left out: {'; '.join(listed)}" if listed else "no query is left out"

"""Tables in the terminal: a run's test figures beside the report's row."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from carsfg.evaluation.glossary import TITLES
from carsfg.report.paper import PAPER, RETRIEVAL, RETRIEVAL_MEANING

COLUMNS = {
    "loss": "loss",
    "f1_weighted": "F1",
    "recall_weighted": "recall",
    "precision_weighted": "precision",
    "top1": "accuracy",
}
VOTE = {
    "f1_weighted": "F1",
    "recall_weighted": "recall",
    "top1": "accuracy",
    "precision_weighted": "precision",
    "fit_s": "fit s",
    "predict_s": "predict s",
}
RANKED = ("top_1", "top_5", "top_10", "r_precision", "map_at_r", "map")
BELOW = ("top5", "f1_macro", "make", "body", "year")


def print_test_table(experiment: str, figures: Mapping[str, float], stamp: Mapping[str, str | int]) -> None:
    """Print the test figures of a run in the columns of the report's tables, its own row above them.

    Under `seed_leaky` the validation figures stand above them too, as what they are.

    Args:
        experiment: the config's name, such as `tl_exp3`.
        figures: by key, such as `test/top1`, as fractions.
        stamp: what made the run; see `carsfg.callbacks.record_run`.
    """
    table = _table(f"{experiment}: test, protocol {stamp['protocol']} on {stamp['data']}", COLUMNS)
    paper = PAPER.get(experiment)
    if paper is not None:
        cells = [getattr(paper, key) for key in COLUMNS]
        table.add_row("the paper *", f"{cells[0]:.4f}", *(f"{cell:.2f} %" for cell in cells[1:]))
    if stamp["protocol"] == "seed_leaky" and "val/top1" in figures:
        table.add_row("this run, leaked: copies of training images", *_cells(figures, "val"))
        table.add_row("this run, honest: test images", *_cells(figures, "test"))
    else:
        table.add_row("this run", *_cells(figures, "test"))
    console = Console()
    console.print(table)
    console.print("  ".join(f"{key} {_percent(figures.get(f'test/{key}'))}" for key in BELOW))
    if paper is not None:
        console.print(f"* {paper.title}: {paper.meaning}.")
        _warn_of_other_data(console, stamp)
    chosen = f"weights {stamp['weights']}, chosen on {stamp['chosen_on']}, seed {stamp['seed']}"
    console.print(f"{chosen}, {stamp['max_epochs']} epochs, {stamp['precision']}, {stamp['hardware']}")


def print_retrieval_table(experiment: str, figures: Mapping[str, float], stamp: Mapping[str, str | int]) -> None:
    """Print what a search found, in the columns of the report's Table 4, and the ranking's figures below.

    Args:
        experiment: the config's name, such as `ir_exp1`.
        figures: by key, such as `test/retrieval/map`; without any of retrieval nothing is printed.
        stamp: what made the run.
    """
    found = {key.removeprefix("test/retrieval/"): value for key, value in figures.items() if "test/retrieval/" in key}
    if not found:
        return
    where = f"{stamp['retrieval']} by {stamp['metric']} on {stamp['data']}"
    table = _table(f"{experiment}: k-NN and retrieval, {where}", VOTE)
    paper = RETRIEVAL.get(experiment)
    if paper is not None:
        cells = [getattr(paper, key) for key in VOTE]
        table.add_row("the paper *", *(f"{cell:.2f} %" for cell in cells[:4]), *(f"{cell:.4f}" for cell in cells[4:]))
    for k in sorted(int(key[4:]) for key in found if key.startswith("knn_") and key[4:].isdigit()):
        shares = [found[f"knn_{k}" if key == "top1" else f"knn_{k}_{key}"] for key in list(VOTE)[:4]]
        seconds = [_number(found[key]) for key in list(VOTE)[4:]]
        table.add_row(f"this run, k={k}", *map(_percent, shares), *seconds)
    console = Console()
    console.print(table)
    console.print("  ".join(f"{TITLES[key]} {_percent(found.get(key))}" for key in RANKED))
    if found["left_out"]:
        console.print(f"{found['left_out']:.0f} queries had nothing to find and are left out of these.")
    if paper is not None:
        console.print(f"* {paper.title}: {RETRIEVAL_MEANING}.")
        _warn_of_other_data(console, stamp)


def _table(title: str, columns: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns.values():
        table.add_column(name, justify="right")
    return table


def _warn_of_other_data(console: Console, stamp: Mapping[str, str | int]) -> None:
    if stamp["data"] != "Stanford Cars":
        console.print(f"The paper's figures are of Stanford Cars: not to be compared with {stamp['data']}.")


def _cells(figures: Mapping[str, float], stage: str) -> list[str]:
    loss, *shares = (figures.get(f"{stage}/{key}") for key in COLUMNS)
    return [_number(loss), *map(_percent, shares)]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

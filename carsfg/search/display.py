"""Answers of a visual search as lines in a terminal; `carsfg.search.answer_figure` draws them."""

import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from carsfg.search.answer import Answer, Share

MIN_SHARE = 0.005  # smaller shares are not shown: they would read 0 %


def print_answer(name: str, answer: Answer) -> None:
    """Print the matches, the vote, the classes of the head and whether the car is known.

    Args:
        name: file name shown above the results.
        answer: matches, vote and classes to print.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # in a file, paths are not wrapped
    console.print(printable(name), style="bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    for match in answer.matches:
        kind = " / ".join(match.attributes.values())
        where = "\n" + printable(match.path) if match.path else ""
        table.add_row(str(match.rank), f"{match.similarity:.3f}", printable(match.name) + where, printable(kind))
    console.print(table)
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_row(f"vote of {len(answer.matches)}", _shares(answer.vote[:5]))
    if answer.classes:
        lines.add_row("classifier (training classes)", _shares(answer.classes))
    if answer.known is not None:
        lines.add_row("known car?", f"{'likely' if answer.is_known else 'unlikely'}: {known_sentence(answer)}")
    if answer.mirror:
        lines.add_row("query", "mean of the photo and its mirror image")
    lines.add_row("time", ", ".join(f"{part} {1000 * took:.0f} ms" for part, took in answer.seconds.items()))
    console.print(lines)


def known_sentence(answer: Answer) -> str:
    """Say which share of the calibration images is no closer to the gallery.

    Args:
        answer: with a p-value, from a calibrated gallery.
    """
    assert answer.known is not None  # noqa: S101
    if answer.is_known:
        return f"{100 * answer.known:.0f} % of calibration images are no closer to the gallery than this photo"
    return f"only {100 * answer.known:.1f} % of calibration images are no closer to the gallery than this photo"


def printable(name: str) -> str:
    """Return a file name with replacement characters in place of bytes that are not UTF-8.

    Args:
        name: as `os.fsdecode` gives it.
    """
    return os.fsencode(name).decode(errors="replace")


def _shares(shares: Sequence[Share]) -> str:
    return ", ".join(f"{printable(one.name)} {100 * one.share:.0f} %" for one in shares if one.share >= MIN_SHARE)

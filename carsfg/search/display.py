"""Answers of a visual search as lines in a terminal, and as a figure."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

from carsfg.plots.neighbours import SIDE, Found, Pixels, neighbour_figure
from carsfg.search.answer import Answer, Share
from carsfg.search.thumbnails import Thumbnails

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


def answer_figure(
    rows: Sequence[tuple[str, Image.Image, Answer]], thumbnails: Thumbnails, truths: Sequence[str] | None = None
) -> Figure:
    """Draw each photo beside its matches, each with class and similarity.

    Args:
        rows: name, RGB image and answer of each photo.
        thumbnails: small JPEG pictures, one per gallery image.
        truths: the classes of the photos, to mark matches as right or wrong; None if they are unknown.
    """
    known: Sequence[str | None] = truths or [None] * len(rows)
    found = [_found(*row, thumbnails, truth) for row, truth in zip(rows, known, strict=True)]
    return neighbour_figure(found, "photos and the most similar cars")


def _found(name: str, image: Image.Image, answer: Answer, thumbnails: Thumbnails, truth: str | None) -> Found:
    note = "" if answer.known is None else f"known car?\n{'likely' if answer.is_known else 'unlikely'}"
    images = [_square(thumbnails[match.place]) for match in answer.matches]
    names = [f"{match.similarity:.3f}  {printable(match.name)}" for match in answer.matches]
    found = np.stack(images) if images else np.empty((0, SIDE, SIDE, 3), np.uint8)
    right = None if truth is None else [match.name == truth for match in answer.matches]
    return Found(_square(image), printable(name), np.nan, found, names, right, note)


def _square(image: Image.Image) -> Pixels:
    """Fit an image into a white square; `ImageOps.pad` may make a thin image 0 pixels wide."""
    width, height = (max(1, round(side * SIDE / max(image.size))) for side in image.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(image.convert("RGB").resize((width, height)), ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(square)


def printable(name: str) -> str:
    """Return a file name with replacement characters in place of bytes that are not UTF-8.

    Args:
        name: as `os.fsdecode` gives it.
    """
    return os.fsencode(name).decode(errors="replace")


def _shares(shares: Sequence[Share]) -> str:
    return ", ".join(f"{printable(one.name)} {100 * one.share:.0f} %" for one in shares if one.share >= MIN_SHARE)

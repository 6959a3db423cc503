"""What a visual search found: as lines in a terminal, and as a picture."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

from carsfg.plots.neighbours import SIDE, Found, Pixels, neighbour_figure
from carsfg.search.engine import Answer, Share
from carsfg.search.thumbnails import Thumbnails

LEAST = 0.005  # shares below are not shown: they would read 0 %


def print_answer(name: str, answer: Answer) -> None:
    """Print the matches, the vote, the head's classes and whether it is a known car.

    Args:
        name: of the photo.
        answer: what was found for it.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # a file has no edge to break paths at
    console.print(_plain(name), style="bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    for match in answer.matches:
        kind = " / ".join(str(part) for part in (match.make, match.body, match.year) if part)
        where = "\n" + _plain(match.path) if match.path else ""
        table.add_row(str(match.rank), f"{match.similarity:.3f}", _plain(match.name) + where, _plain(kind))
    console.print(table)
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_row(f"vote of {len(answer.matches)}", _shares(answer.vote[:5]))
    lines.add_row("classifier", _shares(answer.classes))
    if answer.known is not None:
        lines.add_row("known car?", f"{'likely' if answer.is_known else 'unlikely'}: {known_sentence(answer)}")
    lines.add_row("time", ", ".join(f"{part} {1000 * took:.0f} ms" for part, took in answer.seconds.items()))
    console.print(lines)


def known_sentence(answer: Answer) -> str:
    """Say how usual it is for a known car to lie so far from its nearest.

    Args:
        answer: of a gallery that was calibrated.
    """
    assert answer.known is not None  # noqa: S101
    if answer.is_known:
        return f"{100 * answer.known:.0f} % of known cars have no better match"
    return f"only {100 * answer.known:.1f} % of known cars have no better match"


def answer_figure(
    rows: Sequence[tuple[str, Image.Image, Answer]], thumbnails: Thumbnails, truths: Sequence[str] | None = None
) -> Figure:
    """Draw each photo beside the images found for it, each with its class and similarity.

    Args:
        rows: name, RGB picture and answer of each photo.
        thumbnails: of the gallery.
        truths: the class of each photo, where it is known: what was found is then marked as right or wrong.
    """
    known: Sequence[str | None] = truths or [None] * len(rows)
    found = [_found(*row, thumbnails, truth) for row, truth in zip(rows, known, strict=True)]
    return neighbour_figure(found, "photos and the most similar cars")


def _found(name: str, image: Image.Image, answer: Answer, thumbnails: Thumbnails, truth: str | None) -> Found:
    note = "" if answer.known is None else f"known car?\n{'likely' if answer.is_known else 'unlikely'}"
    images = [_square(thumbnails[match.place]) for match in answer.matches]
    names = [f"{match.similarity:.3f}  {_plain(match.name)}" for match in answer.matches]
    found = np.stack(images) if images else np.empty((0, SIDE, SIDE, 3), np.uint8)
    right = None if truth is None else [match.name == truth for match in answer.matches]
    return Found(_square(image), _plain(name), np.nan, found, names, right, note)


def _square(image: Image.Image) -> Pixels:
    """Fit an image into a white square; Pillow's own `pad` may make a thin one 0 pixels wide."""
    width, height = (max(1, round(side * SIDE / max(image.size))) for side in image.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(image.convert("RGB").resize((width, height)), ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(square)


def _plain(name: str) -> str:
    """Show what of a file's name is no text as question marks."""
    return os.fsencode(name).decode(errors="replace")


def _shares(shares: Sequence[Share]) -> str:
    return ", ".join(f"{_plain(one.name)} {100 * one.share:.0f} %" for one in shares if one.share >= LEAST)

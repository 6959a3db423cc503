"""What a search found, as pictures: each query beside its nearest images."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG = "tab:green", "tab:red"  # frames of images of the query's class, and of another
DPI = 100
# in pixels: an image's side, from one image to the next, from one row to the next, the text on the left, the query
# with the space after it, the title
SIDE, ACROSS, DOWN, LEFT, QUERY, TOP = 150, 168, 212, 120, 190, 76
LINE, LINES = 22, 3  # letters a line and lines of a name: enough for every name of Stanford Cars


@dataclass(frozen=True)
class Found:
    """A query and what was found for it.

    Attributes:
        image: the query, uint8 (S, S, 3).
        name: its class.
        average_precision: of the search; not a number where there was nothing to find.
        images: the K nearest, nearest first, uint8 (K, S, S, 3).
        names: their K classes.
        right: for each of the K whether it is of the query's class.
    """

    image: Pixels
    name: str
    average_precision: float
    images: Pixels
    names: Sequence[str]
    right: Sequence[bool]


def neighbour_figure(rows: Sequence[Found], title: str) -> Figure:
    """Draw each query and, beside it, what was found: right ones framed in green, wrong ones dashed in red.

    A tick or a cross says the same without colours.

    Args:
        rows: the queries; they may have found different numbers of images.
        title: one line.

    Returns:
        A figure of 1654 x 1348 pixels for 6 queries of 8 neighbours.
    """
    columns = max((len(row.names) for row in rows), default=0)
    figure = Figure(figsize=((LEFT + QUERY + ACROSS * columns) / DPI, (TOP + DOWN * len(rows)) / DPI), dpi=DPI)
    _write(figure, 12, 12, title, size=13, va="top")
    _write(figure, 12, 38, "\u2713 same class as the query    \u2717 another class    AP: average precision", va="top")
    for place, row in enumerate(rows):
        top = TOP + DOWN * place
        _write(figure, LEFT - 12, top + SIDE / 2, _score(row), ha="right", va="center", linespacing=1.5)
        _frame(_cell(figure, LEFT, top, row.image, row.name, "bold"), "0.25", 1.5, "solid")
        for column, (image, name, right) in enumerate(zip(row.images, row.names, row.right, strict=True)):
            cell = _cell(figure, LEFT + QUERY + ACROSS * column, top, image, name)
            _judge(cell, right)
    return figure


def _score(row: Found) -> str:
    """Say what the search is worth: over the whole ranking, and in what is shown."""
    if math.isnan(row.average_precision):
        return "nothing\nto find"
    return f"AP {row.average_precision:.3f}\n{sum(row.right)} of {len(row.right)} right"


def _cell(figure: Figure, x: float, y: float, image: Pixels, name: str, weight: str = "normal") -> Axes:
    """Show an image whose upper left corner is x, y pixels from the figure's, its class below."""
    width, height = figure.bbox.size
    cell = figure.add_axes((x / width, 1 - (y + SIDE) / height, SIDE / width, SIDE / height))
    cell.imshow(image, aspect="auto")
    cell.set(xticks=[], yticks=[])
    lines = textwrap.wrap(name, LINE, max_lines=LINES, placeholder=" \u2026")
    cell.set_xlabel("\n".join(lines), fontsize=9, labelpad=5, weight=weight)
    return cell


def _judge(cell: Axes, right: bool) -> None:
    colour, mark = (RIGHT, "\u2713") if right else (WRONG, "\u2717")
    _frame(cell, colour, 3 if right else 4, "solid" if right else (0, (2, 1)))
    badge = {"facecolor": colour, "edgecolor": "white", "boxstyle": "circle,pad=0.2"}
    cell.text(
        0.08, 0.92, mark, color="white", fontsize=9, ha="center", va="center", bbox=badge, transform=cell.transAxes
    )


def _frame(cell: Axes, colour: str, width: float, style: str | tuple[int, tuple[int, int]]) -> None:
    cell.spines[:].set(edgecolor=colour, linewidth=width, linestyle=style)


def _write(figure: Figure, x: float, y: float, text: str, size: int = 10, **style: Any) -> None:
    """Write x, y pixels from the upper left corner."""
    width, height = figure.bbox.size
    figure.text(x / width, 1 - y / height, text, fontsize=size, **style)

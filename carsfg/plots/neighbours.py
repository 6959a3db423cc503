"""Figures of retrieval: each query with its nearest images."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

Pixels = npt.NDArray[np.uint8]

RIGHT, WRONG = "tab:green", "tab:red"  # frames of images of the query's class, and of another
DPI = 100
# in pixels: an image's side, from one image to the next, from one row to the next
SIDE, ACROSS, DOWN = 150, 168, 220
LEFT, QUERY, TOP = 120, 190, 76  # the text on the left, the query with the gap after it, the title
LINE, LINES = 20, 3  # letters a line and lines of a name: enough for every name of Stanford Cars


@dataclass(frozen=True)
class Found:
    """A query and its nearest images.

    Attributes:
        image: the query, uint8 (S, S, 3).
        name: class shown below the picture.
        average_precision: of the whole ranking; NaN if no image is relevant.
        images: the K nearest, nearest first, uint8 (K, S, S, 3).
        names: their K classes.
        right: for each of the K whether it is of the query's class; None if the class of the query is unknown.
        note: text at the left of the query, instead of its average precision.
    """

    image: Pixels
    name: str
    average_precision: float
    images: Pixels
    names: Sequence[str]
    right: Sequence[bool] | None
    note: str | None = None


def neighbour_figure(rows: Sequence[Found], title: str) -> Figure:
    """Plot each query with its nearest images: right ones framed in green, wrong ones dashed in red.

    A tick or a cross repeats this without colour. If the class of the query is unknown, there are neither.

    Args:
        rows: the queries; their numbers of images may differ.
        title: text above all rows.

    Returns:
        A figure of 1654 x 1396 pixels for 6 queries of 8 neighbours.
    """
    columns = max((len(row.names) for row in rows), default=0)
    width, height = LEFT + QUERY + ACROSS * columns, TOP + DOWN * len(rows)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))  # one for all images, in pixels
    axes.text(12, 12, title, fontsize=13, va="top")
    if any(row.right is not None for row in rows):
        explained = "    AP: average precision" if any(row.note is None for row in rows) else ""
        axes.text(12, 38, f"\u2713 same class as the query    \u2717 another class{explained}", va="top")
    for position, row in enumerate(rows):
        _draw_row(axes, TOP + DOWN * position, row)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure


def _draw_row(axes: Axes, y: float, row: Found) -> None:
    axes.text(LEFT - 12, y + SIDE / 2, _score(row), ha="right", va="center", linespacing=1.5)
    _draw_image(axes, LEFT, y, row.image, row.name, weight="bold")
    _draw_frame(axes, LEFT, y, edgecolor="0.25", linewidth=1.5)
    for column, (image, name) in enumerate(zip(row.images, row.names, strict=True)):
        x = LEFT + QUERY + ACROSS * column
        _draw_image(axes, x, y, image, name)
        if row.right is None:
            continue
        right = row.right[column]
        if right:
            _draw_frame(axes, x, y, edgecolor=RIGHT, linewidth=3)
        else:
            _draw_frame(axes, x, y, edgecolor=WRONG, linewidth=4, linestyle=(0, (3, 1)))
        badge = {"facecolor": RIGHT if right else WRONG, "edgecolor": "white", "boxstyle": "circle,pad=0.2"}
        mark = "\u2713" if right else "\u2717"
        axes.text(x + 13, y + 13, mark, color="white", fontsize=9, ha="center", va="center", bbox=badge)


def _score(row: Found) -> str:
    """Return the average precision and the number of right images among those shown."""
    if row.note is not None or row.right is None:
        return row.note or ""
    if math.isnan(row.average_precision):
        return "nothing\nto find"
    return f"AP {row.average_precision:.3f}\n{sum(row.right)} of {len(row.right)} right"


def _draw_image(axes: Axes, x: float, y: float, image: Pixels, name: str, weight: str = "normal") -> None:
    """Place an image whose upper left corner is at x, y, and its class below."""
    axes.imshow(image, extent=(x, x + SIDE, y + SIDE, y), aspect="auto")
    lines = textwrap.wrap(name, LINE, max_lines=LINES, placeholder=" \u2026")
    style: dict[str, Any] = {"ha": "center", "va": "top", "weight": weight, "parse_math": False}  # names have dollars
    axes.text(x + SIDE / 2, y + SIDE + 7, "\n".join(lines), fontsize=9, **style)


def _draw_frame(axes: Axes, x: float, y: float, **style: Any) -> None:
    axes.add_patch(Rectangle((x, y), SIDE, SIDE, fill=False, **style))

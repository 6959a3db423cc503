"""Confusion matrices, plotted without a window and without matplotlib's global state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

MAX_NAMED = 40  # classes; with more, the axes show groups instead of classes


def confusion_figure(
    counts: Tensor, class_names: Sequence[str], split: str, groups: Sequence[str] | None = None
) -> Figure:
    """Plot a confusion matrix, classes sorted by group and name, above a list of the most frequent confusions.

    Args:
        counts: int64 (C, C), images by true class (rows) and predicted class (columns).
        class_names: C labels of both axes, in label order.
        split: `val` or `test`, shown above the matrix.
        groups: group of each class, such as its make; None: no groups.

    Returns:
        A figure of 1150 x 1500 pixels: as wide as TensorBoard shows without scrolling.
    """
    group_of = [""] * len(class_names) if groups is None else groups
    order = sorted(range(len(class_names)), key=lambda c: (group_of[c], class_names[c]))
    matrix = counts.numpy()[np.ix_(order, order)]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(11.5, 15), dpi=100, layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.4, 1))[:, 0]
    upper, lower = above.subplots(), below.subplots()
    # the square root lifts the few wrong images of a class out of the white
    image = upper.imshow(shares, cmap="gist_heat_r", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="auto")
    above.colorbar(image, ax=upper, shrink=0.5, pad=0.01, label="share of the true class's images")
    _label_axes(upper, [class_names[c] for c in order], [group_of[c] for c in order])
    right_share = float(np.trace(matrix) / max(matrix.sum(), 1))
    share = f"{split}: {right_share:.1%} of {int(matrix.sum()):,} images on the diagonal"
    upper.set_title(f"{share} (rows: true class, columns: predicted)")
    _list_confusions(lower, matrix, [class_names[c] for c in order])
    return figure


def _label_axes(axes: Axes, names: list[str], groups: list[str]) -> None:
    starts = [i for i in range(len(groups)) if i == 0 or groups[i] != groups[i - 1]]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="0.75", linewidth=0.5)
        axes.axvline(start - 0.5, color="0.75", linewidth=0.5)
    if len(names) <= MAX_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    if not any(groups):
        return
    ends = [*starts[1:], len(groups)]
    middles = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
    thread = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
    positions = _apart(middles, 0.0155 * len(names))  # a line's height, as a share of the axes'
    style: dict[str, Any] = {"fontsize": 8, "arrowprops": thread, "parse_math": False}
    for start, middle, position in zip(starts, middles, positions, strict=True):
        y, x = axes.get_yaxis_transform(), axes.get_xaxis_transform()
        label = groups[start]
        axes.annotate(label, (0, middle), (-0.015, position), y, y, ha="right", va="center", **style)
        axes.annotate(label, (middle, 0), (position, -0.015), x, x, ha="center", va="top", rotation=90, **style)


def _apart(positions: Sequence[float], gap: float) -> list[float]:
    """Move sorted positions apart, each as little as possible, until neighbours have a minimum distance."""
    pushed = np.array(positions, np.float64)
    for _ in range(10_000):
        push = np.maximum(gap - np.diff(pushed), 0) / 2
        if push.max(initial=0) < 0.01 * gap:
            break
        pushed[:-1] -= push
        pushed[1:] += push
    return [float(position) for position in pushed]


def _list_confusions(axes: Axes, matrix: npt.NDArray[np.int64], names: list[str], most: int = 24) -> None:
    """List pairs in two columns, most images first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    flat = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(flat, wrong.shape)
    lines = [
        f"{wrong[r, c]} of {matrix[r].sum()}  {names[r]}\n        taken for {names[c]}"
        for r, c in zip(rows, columns, strict=True)
        if wrong[r, c] > 0
    ]
    axes.axis("off")
    axes.set_title("most often confused", loc="left")
    half = max(len(lines) - len(lines) // 2, 1)
    for x, part in ((0, lines[:half] or ["nothing"]), (0.5, lines[half:])):
        style: dict[str, Any] = {"fontsize": 9, "linespacing": 1.3, "parse_math": False}
        axes.text(x, 0.99, "\n".join(part), va="top", transform=axes.transAxes, **style)

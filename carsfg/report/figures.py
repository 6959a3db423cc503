"""Figures, drawn without any window and without matplotlib's global state."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from carsfg.data.names import parse

FEW = 40  # classes up to which each is named on the axes; beyond, makes are


def confusion_figure(counts: Tensor, class_names: Sequence[str], split: str) -> Figure:
    """Draw a confusion matrix, classes sorted by make and name, beside the pairs most often confused.

    Args:
        counts: int64 (C, C), images by true class (rows) and predicted class (columns).
        class_names: the C names.
        split: for the title.

    Returns:
        A figure of 2000 x 1300 pixels.
    """
    makes = [parse(name).make for name in class_names]
    order = sorted(range(len(class_names)), key=lambda c: (makes[c], class_names[c]))
    matrix = counts.numpy()[np.ix_(order, order)]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(20, 13), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1.35))
    # the square root lifts the few wrong images of a class out of the white
    image = left.imshow(shares, cmap="magma_r", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    figure.colorbar(image, ax=left, shrink=0.5, pad=0.01, label="share of the true class's images")
    _label_axes(left, [class_names[c] for c in order], [makes[c] for c in order])
    right_share = float(np.trace(matrix) / max(matrix.sum(), 1))
    left.set_title(f"{split}: {right_share:.1%} of {int(matrix.sum()):,} images on the diagonal")
    left.set_xlabel("predicted")
    left.set_ylabel("true")
    _list_confusions(right, matrix, [class_names[c] for c in order])
    return figure


def _label_axes(axes: Axes, names: list[str], makes: list[str]) -> None:
    starts = [i for i in range(len(makes)) if i == 0 or makes[i] != makes[i - 1]]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="0.75", linewidth=0.5)
        axes.axvline(start - 0.5, color="0.75", linewidth=0.5)
    if len(names) <= FEW:
        ticks, labels = [float(i) for i in range(len(names))], names
    else:
        ends = [*starts[1:], len(makes)]
        ticks = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
        labels = [makes[start] for start in starts]
    axes.set_xticks(ticks, labels, rotation=90, fontsize=8)
    axes.set_yticks(ticks, labels, fontsize=8)


def _list_confusions(axes: Axes, matrix: np.ndarray, names: list[str], most: int = 20) -> None:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    flat = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(flat, wrong.shape)
    lines = [
        f"{wrong[r, c]:>3} of {matrix[r].sum():>3}   {names[r]}\n               taken for {names[c]}"
        for r, c in zip(rows, columns, strict=True)
        if wrong[r, c] > 0
    ]
    axes.axis("off")
    axes.set_title("most often confused", loc="left")
    axes.text(
        0,
        0.99,
        "\n".join(lines) or "nothing",
        va="top",
        fontsize=9,
        linespacing=1.5,
        transform=axes.transAxes,
    )

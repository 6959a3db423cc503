"""The report's Figures 1 to 8, drawn from our runs, the report's own figures beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carsfg.report.groups import Group, vote_of
from carsfg.report.paper import PAPER, RETRIEVAL

TRAIN, VAL, PAPERS = "#2563eb", "#ea580c", "#64748b"
LINES = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#0891b2", "#854d0e", "#475569")
TITLES = {"top1": "top-1, %", "f1_weighted": "F1, %", "loss": "loss"}
VOTES = {"": "accuracy, %", "_f1_weighted": "F1, %", "_precision_weighted": "precision, %"}


@dataclass(frozen=True)
class Drawing:
    """A figure of the report, one panel beside the other.

    Attributes:
        title: the report's number, and what it shows.
        panels: each with what it shows, in words.
    """

    title: str
    panels: list[tuple[Figure, str]]


def figures(groups: Sequence[Group]) -> list[Drawing]:
    """Draw what there are runs for; several seeds are a mean in a band from the least to the most.

    Args:
        groups: all tested runs, as `carsfg.report.groups.group` puts them together.
    """
    ours = [one for one in groups if one.experiment.startswith("ir_") and vote_of(one)]
    voting = ours or [one for one in groups if vote_of(one)]
    return [
        *_each("Figure 1: frozen", "tl_exp1", groups),
        *_each("Figure 2: fine-tuned, augmentation, dropout", "tl_exp3", groups),
        *_all("Figure 3: validation across transfer learning", "tl_", ("top1", "loss"), groups),
        *([Drawing("Figure 4: the neighbours' vote", [_bars(voting, key) for key in VOTES])] if voting else []),
        *_each("Figure 5: basic CNN", "cnn_exp1", groups),
        *_each("Figure 6: DirectCNN", "cnn_exp2", groups),
        *_each("Figure 7: DirectCNN with augmentation", "cnn_exp3", groups),
        *_each("Figure 7, as the paper has it: validated on copies of training images", "cnn_seed_leaky", groups),
        *_all("Figure 8: validation across CNNs", "cnn_", ("top1", "f1_weighted"), groups),
    ]  # fmt: skip


def _each(title: str, experiment: str, groups: Sequence[Group]) -> list[Drawing]:
    found = [one for one in groups if one.experiment == experiment]
    return [Drawing(f"{title} ({one.label})", [_curves(one, "top1"), _curves(one, "loss")]) for one in found]


def _all(title: str, prefix: str, keys: Sequence[str], groups: Sequence[Group]) -> list[Drawing]:
    found = [one for one in groups if one.experiment.startswith(prefix)]
    panels = [_compare(found, key) for key in keys if any(one.curve(f"val/{key}") for one in found)]
    return [Drawing(title, panels)] if panels else []


def _panel(title: str, height: float = 3.1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _curves(one: Group, key: str) -> tuple[Figure, str]:
    """Draw training and validation, and the figure that the report ends with."""
    figure, axes = _panel(TITLES[key])
    words = []
    for split, colour in (("train", TRAIN), ("val", VAL)):
        words += _line(axes, one, f"{split}/{key}", colour, split_name(one, split))
    paper = PAPER.get(one.experiment)
    if paper is not None and one.is_real:
        value = getattr(paper, key)
        label = f"the paper{', leaked' if paper.leaked else ''}: {value:g}"
        axes.axhline(value, color=PAPERS, linestyle="--", linewidth=1.2, label=label)
        words.append(label)
    axes.set_xlabel("epoch")
    axes.legend(frameon=False, fontsize=9)
    return figure, f"{TITLES[key]} by epoch. {'; '.join(words)}"


def _compare(groups: Sequence[Group], key: str) -> tuple[Figure, str]:
    """Draw one validation curve a group."""
    figure, axes = _panel(TITLES[key], 3.1 + 0.19 * len(groups))
    words = []
    for place, one in enumerate(groups):
        label = f"{one.label} ({split_name(one, 'val')})"
        words += _line(axes, one, f"val/{key}", LINES[place % len(LINES)], label, "--" if one.is_leaky else "-")
    axes.set_xlabel("epoch")
    figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    return figure, f"{TITLES[key]} by epoch. {'; '.join(words)}"


def _line(axes: Axes, one: Group, key: str, colour: str, label: str, style: str = "-") -> list[str]:
    """Draw a curve, and say in words from where to where it goes."""
    points = one.curve(key)
    if not points:
        return []
    scale = 1 if key.endswith("loss") else 100
    epochs = [epoch for epoch, *_ in points]
    mean, least, most = ([scale * point[place] for point in points] for place in (1, 2, 3))
    axes.plot(epochs, mean, style, color=colour, linewidth=1.8, label=label, marker="o" if len(points) == 1 else None)
    if len(one.runs) > 1:
        axes.fill_between(epochs, least, most, color=colour, alpha=0.2, linewidth=0)
    return [f"{label}: {mean[0]:.4g} to {mean[-1]:.4g}"]


def _bars(groups: Sequence[Group], score: str) -> tuple[Figure, str]:
    """Draw a bar a group, and a diamond where the report's is."""
    figure, axes = _panel(VOTES[score], 1.2 + 0.62 * len(groups))
    words, shown = [], False
    for place, one in enumerate(groups):
        k = vote_of(one)
        mean, deviation = one.mean(f"test/retrieval/knn_{k}{score}") or (0, math.nan)
        label = f"{one.label}, k = {k}: {100 * mean:.1f}"
        axes.barh(place, 100 * mean, 0.3, color=TRAIN, xerr=None if math.isnan(deviation) else 100 * deviation)
        axes.text(0, place - 0.24, label, fontsize=9, va="bottom")
        paper = RETRIEVAL.get(one.experiment)
        words.append(label)
        if paper is not None and one.is_real:
            value = getattr(paper, score.removeprefix("_") or "top1")
            axes.plot(value, place, "D", color="black", markersize=6, label=None if shown else "the paper")
            shown = True
            words.append(f"the paper: {value:.1f}")
    axes.set(xlim=(0, 100), ylim=(len(groups) - 0.5, -0.6), yticks=[])
    axes.spines["left"].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    return figure, f"{VOTES[score]}. {'; '.join(words)}"


def split_name(one: Group, split: str) -> str:
    """Name a curve's images: a validation is not always what it is called.

    Args:
        one: any group.
        split: `train` or `val`.
    """
    if split == "train":
        return "training"
    if one.is_leaky:
        return "copies of training images"
    return {"test": "test images", "holdout": "hold-out"}.get(str(one.stamp.get("val")), "validation")

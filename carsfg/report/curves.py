"""Figures of all runs: the paper's Figures 1 to 8 with its numbers, and the curves of all other experiments."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill, wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carsfg.report.groups import Group, vote_of
from carsfg.report.paper import TABLES, paper_row, retrieval_row

TRAIN, VAL, PAPERS = "#2563eb", "#ea580c", "#64748b"
LINES = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#0891b2", "#854d0e", "#475569")
TITLES = {"top1": "top-1, %", "f1_weighted": "F1, %", "loss": "loss", "retrieval/map_at_r": "MAP@R, %"}
MAX_LETTERS = 64  # per line of a label: the width of a panel
VOTES = {"": "accuracy, %", "_f1_weighted": "F1, %", "_precision_weighted": "precision, %"}
OWN = ("top1", "loss", "retrieval/map_at_r")  # curves of experiments that the paper lacks


@dataclass(frozen=True)
class Drawing:
    """A figure with several panels.

    Attributes:
        title: what it shows, with the paper's number if it has one.
        panels: each with a description in words.
    """

    title: str
    panels: list[tuple[Figure, str]]


def figures(groups: Sequence[Group]) -> list[Drawing]:
    """Draw the curves of all runs; of several seeds, the mean in a band from minimum to maximum.

    Args:
        groups: all runs, as `carsfg.report.groups.group` returns them.
    """
    of_paper = [one for one in groups if one.is_for_the_paper]
    transfer, votes, cnns = ([one for one in of_paper if one.experiment in names] for names in TABLES.values())
    votes = [one for one in votes if vote_of(one)]
    drawings = [
        *_each("Figure 1: frozen", "tl_exp1", of_paper),
        *_each("Figure 2: fine-tuned, augmentation, dropout", "tl_exp3", of_paper),
        *_all("Figure 3: validation across transfer learning", ("top1", "loss"), transfer),
        *([Drawing("Figure 4: the neighbours' vote", [_bars(votes, key) for key in VOTES])] if votes else []),
        *_each("Figure 5: basic CNN", "cnn_exp1", of_paper),
        *_each("Figure 6: DirectCNN", "cnn_exp2", of_paper),
        *_each("Figure 7: DirectCNN with augmentation", "cnn_exp3", of_paper),
        *_each("Figure 7 as in the paper: validated on copies of training images", "cnn_seed_leaky", of_paper),
        *_all("Figure 8: validation across CNNs", ("top1", "f1_weighted"), cnns),
    ]
    titles = [drawing.title for drawing in drawings]
    return drawings + _own([one for one in groups if not any(title.endswith(f"({one.label})") for title in titles)])


def _own(groups: Sequence[Group]) -> list[Drawing]:
    """Draw each group by itself, those of one experiment together, and all experiments on one data set together."""
    drawings = []
    for data in dict.fromkeys(one.record.data_name for one in groups):
        found = [one for one in groups if one.record.data_name == data]
        experiments = dict.fromkeys(one.experiment for one in found)
        compared = [one for one in found if not one.is_for_the_paper]
        if len({one.experiment for one in compared}) > 1:
            drawings += _all(f"Validation on {data}", OWN, compared)
        for experiment in experiments:
            drawings += _of_experiment(experiment, [one for one in found if one.experiment == experiment])
    shown = [one for one in groups if one.is_for_the_paper and one.experiment in TABLES["Table 4"]]
    votes = [one for one in groups if vote_of(one) and one not in shown]
    return drawings + ([Drawing("Vote of the neighbours", [_bars(votes, key) for key in VOTES])] if votes else [])


def _of_experiment(experiment: str, groups: Sequence[Group]) -> list[Drawing]:
    drawings = _all(f"Validation across {experiment}", OWN, groups) if len(groups) > 1 else []
    for one in groups:
        panels = [_curves(one, key) for key in OWN if one.curve(f"train/{key}") or len(one.curve(f"val/{key}")) > 1]
        drawings += [Drawing(one.label, panels)] if panels else []
    return drawings


def _each(title: str, experiment: str, groups: Sequence[Group]) -> list[Drawing]:
    found = [one for one in groups if one.experiment == experiment]
    return [Drawing(f"{title} ({one.label})", [_curves(one, "top1"), _curves(one, "loss")]) for one in found]


def _all(title: str, keys: Sequence[str], groups: Sequence[Group]) -> list[Drawing]:
    panels = [_compare(groups, key) for key in keys if any(one.curve(f"val/{key}") for one in groups)]
    return [Drawing(title, panels)] if panels else []


def _panel(title: str, height: float = 3.1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _curves(one: Group, key: str) -> tuple[Figure, str]:
    """Draw training and validation, and the final number of the paper."""
    figure, axes = _panel(TITLES[key])
    words = []
    for split, colour in (("train", TRAIN), ("val", VAL)):
        words += _line(axes, one, f"{split}/{key}", colour, split_name(one, split))
    paper = paper_row(one.record)
    if paper is not None and hasattr(paper, key):
        value = getattr(paper, key)
        label = f"the paper{', leaked' if paper.leaked else ''}: {value:g}"
        axes.axhline(value, color=PAPERS, linestyle="--", linewidth=1.2, label=label)
        words.append(label)
    axes.set_xlabel("epoch")
    if words:
        axes.legend(frameon=False, fontsize=9)
    return figure, f"{TITLES[key]} by epoch. {'; '.join(words)}"


def _compare(groups: Sequence[Group], key: str) -> tuple[Figure, str]:
    """Draw one validation curve per group."""
    labels = [fill(f"{one.label} ({split_name(one, 'val')})", MAX_LETTERS) for one in groups]
    figure, axes = _panel(TITLES[key], 3.1 + 0.19 * sum(label.count("\n") + 1 for label in labels))
    words = []
    for place, (one, label) in enumerate(zip(groups, labels, strict=True)):
        words += _line(axes, one, f"val/{key}", LINES[place % len(LINES)], label, "--" if one.is_leaky else "-")
    axes.set_xlabel("epoch")
    figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    return figure, f"{TITLES[key]} by epoch. {'; '.join(words)}"


def _line(axes: Axes, one: Group, key: str, colour: str, label: str, style: str = "-") -> list[str]:
    """Draw a curve, and describe its ends in words."""
    points = one.curve(key)
    if not points:
        return []
    scale = 1 if key.endswith("loss") else 100
    epochs = [epoch for epoch, *_ in points]
    mean, least, most = ([scale * point[place] for point in points] for place in (1, 2, 3))
    name = label.replace("$", "\\$")  # text, not a formula
    axes.plot(epochs, mean, style, color=colour, linewidth=1.8, label=name, marker="o" if len(points) == 1 else None)
    if len(one.runs) > 1:
        axes.fill_between(epochs, least, most, color=colour, alpha=0.2, linewidth=0)
    return [f"{' '.join(label.split())}: {mean[0]:.4g} to {mean[-1]:.4g}"]


def _bars(groups: Sequence[Group], score: str) -> tuple[Figure, str]:
    """Draw a bar per group, and a diamond at the paper's number."""
    lines = max(len(wrap(one.label, MAX_LETTERS - 24)) for one in groups)  # the numbers follow
    figure, axes = _panel(VOTES[score], 1.2 + (0.42 + 0.2 * lines) * len(groups))
    words, shown = [], False
    for place, one in enumerate(groups):
        k = vote_of(one)
        mean, deviation = one.mean(f"test/retrieval/knn_{k}{score}") or (0, math.nan)
        label = f"{one.label}, k = {k}: {100 * mean:.1f}"
        axes.barh(place, 100 * mean, 0.3, color=TRAIN, xerr=None if math.isnan(deviation) else 100 * deviation)
        axes.text(
            0, place - 0.24, fill(label, MAX_LETTERS - 8), fontsize=9, va="bottom", parse_math=False, in_layout=False
        )
        paper = retrieval_row(one.record)
        words.append(label)
        if paper is not None:
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
    """Name the images of a curve: validation may be on test images, or on copies of training images.

    Args:
        one: any group.
        split: `train` or `val`.
    """
    if split == "train":
        return "training"
    if one.is_leaky:
        return "copies of training images"
    return {"test": "test images", "holdout": "hold-out"}.get(str(one.record.data.get("val")), "validation")

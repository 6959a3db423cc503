"""The report's Figures 1 to 8, drawn from our runs."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from carsfg.report.runs import Run

TRAIN, VAL = "tab:blue", "tab:orange"


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """Draw what there are runs for, by title; several runs of an experiment give several figures or lines.

    Args:
        runs: as `read_runs` gives them.
    """
    drawn: dict[str, Figure] = {}

    def each(title: str, experiment: str) -> None:
        for run in _of(runs, experiment):
            drawn[f"{title} ({run.name})"] = _curves(run)

    def all_of(title: str, prefix: str, draw: Callable[[Sequence[Run]], Figure]) -> None:
        found = [run for run in runs if run.experiment.startswith(prefix)]
        if found:
            drawn[title] = draw(found)

    each("Figure 1: frozen", "tl_exp1")
    each("Figure 2: fine-tuned, augmentation, dropout", "tl_exp3")
    all_of("Figure 3: validation across transfer learning", "tl_", lambda found: _compare(found, "top1", "loss"))
    voting = [run for run in runs if any(key.startswith("test/retrieval/knn_") for key in run.test)]
    if voting:
        drawn["Figure 4: the vote of the nearest neighbours"] = _bars(voting)
    each("Figure 5: basic CNN", "cnn_exp1")
    each("Figure 6: DirectCNN", "cnn_exp2")
    each("Figure 7: DirectCNN with augmentation", "cnn_exp3")
    each("Figure 7, as the report has it: validation on copies of training images", "cnn_seed_leaky")
    all_of("Figure 8: validation across CNNs", "cnn_", lambda found: _compare(found, "top1", "f1_weighted"))
    return drawn


def _of(runs: Sequence[Run], experiment: str) -> list[Run]:
    return [run for run in runs if run.experiment == experiment]


def _curves(run: Run) -> Figure:
    """Draw accuracy and loss of training and validation."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("top1", "loss"), ("top-1, %", "loss"), strict=True):
        for split, colour in (("train", TRAIN), ("val", VAL)):
            _line(axes, run, f"{split}/{key}", color=colour, label=_split_name(run, split))
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _compare(runs: Sequence[Run], *keys: str) -> Figure:
    """Draw one line a run."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    places = figure.subplots(1, 2)
    for axes, key in zip(places, keys, strict=True):
        for run in runs:
            _line(axes, run, f"val/{key}", label=f"{run.name} ({_split_name(run, 'val')})")
        axes.set(xlabel="epoch", title={"top1": "top-1, %", "f1_weighted": "F1, %"}.get(key, key))
        axes.grid(alpha=0.3)
    if places[0].lines:
        figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _bars(runs: Sequence[Run]) -> Figure:
    """Draw accuracy, F1, precision and recall of each run's vote of the most neighbours."""
    scores = {"": "accuracy", "_f1_weighted": "F1", "_precision_weighted": "precision", "_recall_weighted": "recall"}
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for place, run in enumerate(runs):
        ks = [
            int(key.rpartition("_")[2])
            for key in run.test
            if key.startswith("test/retrieval/knn_") and key[-1].isdigit()
        ]
        most = max(ks)
        values = [100 * run.test.get(f"test/retrieval/knn_{most}{score}", 0) for score in scores]
        width = 0.8 / len(runs)
        axes.bar([x + width * place for x in range(len(scores))], values, width, label=f"{run.name}, k = {most}")
    axes.set_xticks([x + 0.4 - 0.4 / len(runs) for x in range(len(scores))], list(scores.values()))
    axes.set(ylabel="%")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, axis="y")
    return figure


def _line(axes: Axes, run: Run, key: str, **style: str) -> None:
    points = run.curves.get(key, [])
    if points:
        scale = 1 if key.endswith("loss") else 100
        axes.plot([epoch for epoch, _ in points], [scale * value for _, value in points], linewidth=1.6, **style)  # type: ignore[arg-type]


def _split_name(run: Run, split: str) -> str:
    """Name a curve's images: a validation is not always what it is called."""
    if split == "train":
        return "training"
    if run.stamp.get("protocol") == "seed_leaky":
        return "copies of training images"
    return {"test": "test images", "holdout": "hold-out"}.get(str(run.stamp.get("val")), "validation")

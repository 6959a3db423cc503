"""The report's Tables 2, 4 and 7, with the paper's figures beside ours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from carsfg.report.paper import PAPER, RETRIEVAL, RETRIEVAL_MEANING, PaperRow
from carsfg.report.runs import Run, group, mean_of

NOT_RUN, REAL = "not run", "Stanford Cars"
CLASSIFICATION = [
    "experiment", "network", "paper", "ours, top-1", "difference", "F1", "loss", "protocol", "chosen on", "seeds",
    "hardware",
]  # fmt: skip
VOTES = [
    "experiment", "network", "paper", "ours, accuracy", "difference", "k", "F1", "fit s", "predict s", "top-1", "MAP@R",
    "mAP", "protocol", "chosen on", "seeds", "hardware",
]  # fmt: skip
VOTE_OF = {"ir_exp1": 3, "ir_exp2": 10, "ir_exp3": 7}  # k, as the report has it


@dataclass
class Summary:
    """A table.

    Attributes:
        title: what it shows.
        columns: their names.
        rows: cells, as text.
        notes: below it.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as Markdown, notes below."""
        cells = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def html(self) -> str:
        """Return the table as HTML, notes below."""
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in self.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(self.title)}">{table}</div>{notes}'


def summaries(runs: Sequence[Run]) -> list[Summary]:
    """Return the three tables: transfer learning, retrieval, CNNs from random weights.

    Args:
        runs: as `read_runs` gives them.
    """
    return [
        _classification("Table 2: transfer learning", "tl_", runs),
        _retrieval(runs),
        _classification("Table 7: CNNs from random weights", "cnn_", runs),
    ]


def _classification(title: str, prefix: str, runs: Sequence[Run]) -> Summary:
    table, notes = Summary(title, CLASSIFICATION, []), []
    for experiment, groups in _experiments(prefix, PAPER, runs).items():
        paper, stated = PAPER.get(experiment), ""
        if paper is not None:
            stated = f"{paper.top1:.2f} %" + (", leaked" if paper.leaked else "")
            notes.append(f"{experiment}, paper ({paper.title}): {paper.meaning}.")
        for same in groups:
            table.rows.append([experiment, _network(same[0]), stated, *_scores(same, paper), *_made(same)])
        if not groups:
            table.rows.append([experiment, "", stated, NOT_RUN, *[""] * 7])
    table.notes = ["Ours: the official 8,041 test images; ± is the standard deviation over seeds.", *notes]
    return table


def _retrieval(runs: Sequence[Run]) -> Summary:
    table = Summary("Table 4: image retrieval", VOTES, [], [f"Paper: {RETRIEVAL_MEANING}."])
    for experiment, groups in _experiments("ir_", RETRIEVAL, runs).items():
        paper, stated, points = RETRIEVAL.get(experiment), "", None
        if paper is not None:
            stated, points = f"{paper.top1:.2f} %", paper.top1
        for same in groups:
            alike = points if same[0].stamp.get("data") == REAL else None
            made = _made(same, retrieval=True)
            table.rows.append([experiment, _network(same[0]), stated, *_votes(same, experiment, alike), *made])
        if not groups:
            table.rows.append([experiment, "", stated, NOT_RUN, *[""] * 12])
    return table


def _votes(same: list[Run], experiment: str, paper: float | None) -> list[str]:
    k = VOTE_OF.get(experiment, 10)
    accuracy, f1 = (mean_of(same, f"test/retrieval/knn_{k}{score}") for score in ("", "_f1_weighted"))
    seconds = [_number(mean_of(same, f"test/retrieval/{key}")) for key in ("fit_s", "predict_s")]
    ranked = [_percent(mean_of(same, f"test/retrieval/{key}")) for key in ("top_1", "map_at_r", "map")]
    return [_percent(accuracy), _points(accuracy, paper), str(k), _percent(f1), *seconds, *ranked]


def _experiments(prefix: str, paper: Mapping[str, object], runs: Sequence[Run]) -> dict[str, list[list[Run]]]:
    """Group the runs of each experiment; those of the paper come first, with or without runs."""
    names = [name for name in paper if name.startswith(prefix)]
    names += sorted({run.experiment for run in runs if run.experiment.startswith(prefix)} - set(names))
    return {name: group(run for run in runs if run.experiment == name) for name in names}


def _scores(same: list[Run], paper: PaperRow | None) -> list[str]:
    """Return top-1, its difference to the paper's where both are of the same kind of images, F1 and loss."""
    top1, f1, loss = (mean_of(same, f"test/{key}") for key in ("top1", "f1_weighted", "loss"))
    ours, compared, leaky = _percent(top1), top1, same[0].stamp.get("protocol") == "seed_leaky"
    if leaky:
        compared = mean_of(same, "val/top1")
        ours = f"{_percent(compared)} leaked, {ours} honest"
    alike = paper is not None and paper.leaked == leaky and same[0].stamp.get("data") == REAL
    return [ours, _points(compared, paper.top1 if paper and alike else None), _percent(f1), _number(loss)]


def _made(same: list[Run], retrieval: bool = False) -> list[str]:
    stamp = same[0].stamp
    protocol = str(stamp.get("protocol", "unknown")) + (f", {stamp.get('retrieval')}" if retrieval else "")
    data = stamp.get("data", "unknown data")
    where = "" if data == REAL else f", {data}"
    seeds = ", ".join(sorted({str(run.stamp.get("seed", "unknown")) for run in same}))
    hardware = "; ".join(sorted({str(run.stamp.get("hardware", "unknown")) for run in same}))
    return [f"{protocol}{where}, {stamp.get('image_size')} px", str(stamp.get("chosen_on", "unknown")), seeds, hardware]


def _network(run: Run) -> str:
    stamp = run.stamp
    name = stamp.get("backbone") or "custom CNN"
    return f"{name}, frozen" if stamp.get("freeze") else str(name)


def _percent(value: tuple[float, float] | None) -> str:
    if value is None:
        return ""
    mean, deviation = value
    return f"{100 * mean:.2f} %" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")


def _number(value: tuple[float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.4f}"


def _points(value: tuple[float, float] | None, paper: float | None) -> str:
    return "" if value is None or paper is None else f"{100 * value[0] - paper:+.2f}"

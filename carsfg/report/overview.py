"""The page's first picture: the accuracy of all runs, the paper's beside it."""

from collections.abc import Sequence
from html import escape

from carsfg.report.groups import Group
from carsfg.report.paper import PAPER, RETRIEVAL
from carsfg.report.summaries import VOTE_OF

LEGEND = {
    "ours": "ours, test images",
    "leak": "ours, copies of training images",
    "paper": "the paper",
    "paper leaked": "the paper, on copies",
}


def overview(groups: Sequence[Group]) -> str:
    """Return a bar for each set-up's accuracy, and a tick where the paper's is.

    Args:
        groups: all tested runs, as `carsfg.report.groups.group` puts them together.
    """
    legend = "".join(f"<span><i class='{kind}'></i>{what}</span>" for kind, what in LEGEND.items())
    return f"<p class='legend'>{legend}</p><div class='bars'>{''.join(map(_row, groups))}</div>"


def _row(one: Group) -> str:
    k = VOTE_OF.get(one.experiment)
    retrieves = one.experiment.startswith("ir_")
    key = f"test/retrieval/knn_{k or 10}" if retrieves else "test/top1"
    ours = one.mean(key) or one.mean("test/retrieval/top_1")
    paper = (RETRIEVAL if retrieves else PAPER).get(one.experiment) if one.is_real else None
    leaked = one.mean("val/top1") if one.is_leaky else None
    what = f", vote of {k or 10}" if one.mean(key) else ", nearest image"
    what = what if retrieves else ""
    bars, words = "", []
    if leaked is not None:
        bars += f"<i class='leak' style='width:{100 * leaked[0]:.2f}%'></i>"
        words.append(f"{100 * leaked[0]:.2f} % on copies")
    if ours is not None:
        bars += f"<i class='ours' style='width:{100 * ours[0]:.2f}%'></i>"
        words.insert(0, f"<b>{100 * ours[0]:.2f} %</b>")
    if paper is not None:
        leaky = getattr(paper, "leaked", False)
        bars += f"<i class='paper{' leaked' if leaky else ''}' style='left:{paper.top1:.2f}%'></i>"
        words.append(f"paper {paper.top1:.2f} %{' on copies' if leaky else ''}")
    return f"<span>{escape(one.label)}{what}</span><span class='track'>{bars}</span><span>{' · '.join(words)}</span>"

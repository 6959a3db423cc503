"""The page's first picture: the accuracy of all runs, the paper's beside it."""

from collections.abc import Sequence
from html import escape

from carsfg.report.groups import Group, vote_of
from carsfg.report.paper import PAPER, RETRIEVAL

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
    real, drawn = ("".join(_row(one) for one in groups if one.is_real is kind) for kind in (True, False))
    bars = f"<div class='bars'>{real}</div>" if real else ""
    if drawn:
        bars += (
            f"<h3>On other images: not to be compared with those of Stanford Cars</h3><div class='bars'>{drawn}</div>"
        )
    return f"<p class='legend'>{legend}</p>{bars}"


def _row(one: Group) -> str:
    retrieves, k = one.experiment.startswith("ir_"), vote_of(one)
    ours, what = one.mean("test/top1"), ""
    if retrieves and k:
        ours, what = one.mean(f"test/retrieval/knn_{k}"), f", vote of {k}"
    elif ours is None:  # the head knows none of the classes
        ours, what = one.mean("test/retrieval/top_1"), ", nearest image"
    paper = (RETRIEVAL if retrieves else PAPER).get(one.experiment) if one.is_real and "nearest" not in what else None
    leaked = one.mean("val/top1") if one.is_leaky else None
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

"""The first figure of the page: a bar for the accuracy of each group, the paper's beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from carsfg.report.groups import Group, vote_of
from carsfg.report.paper import PaperRow, RetrievalRow, paper_row, retrieval_row

LEGEND = {
    "ours": "ours, test images",
    "leak": "ours, copies of training images",
    "paper": "the paper",
    "paper leaked": "the paper, on copies",
}


@dataclass(frozen=True)
class Bar:
    """Accuracies of a group in percent, None for those that it lacks.

    Attributes:
        label: of the group, and what was scored if it is not the head.
        ours: on the test images.
        leak: on copies of training images.
        paper: the paper's number.
        is_paper_leaked: whether that is a number of copies.
    """

    label: str
    ours: float | None
    leak: float | None
    paper: float | None
    is_paper_leaked: bool

    @property
    def kinds(self) -> list[str]:
        """The keys of `LEGEND` that the bar shows."""
        paper = "paper leaked" if self.is_paper_leaked else "paper"
        shown = {"ours": self.ours, "leak": self.leak, paper: self.paper}
        return [kind for kind, value in shown.items() if value is not None]

    @property
    def text(self) -> str:
        """The numbers in words, without ours."""
        copies = " on copies" if self.is_paper_leaked else ""
        parts = [
            "" if self.leak is None else f"{self.leak:.2f} % on copies",
            "" if self.paper is None else f"paper {self.paper:.2f} %{copies}",
        ]
        return " · ".join(part for part in parts if part)


def overview(groups: Sequence[Group]) -> dict[str, list[Bar]]:
    """Return the bars of all tested groups, by the name of the data set.

    Args:
        groups: all runs, as `carsfg.report.groups.group` returns them.
    """
    bars: dict[str, list[Bar]] = {}
    for one in groups:
        if one.is_tested:
            bars.setdefault(one.record.data_name, []).append(_bar(one))
    return bars


def _bar(one: Group) -> Bar:
    k = vote_of(one)
    ours, what = one.mean("test/top1"), ""
    paper: PaperRow | RetrievalRow | None = paper_row(one.record)
    if one.retrieves and k:
        ours, what, paper = one.mean(f"test/retrieval/knn_{k}"), f", vote of {k}", retrieval_row(one.record)
    elif ours is None:  # the test images are of classes that the head does not know
        ours, what, paper = one.mean("test/retrieval/top_1"), ", nearest image", None
    leak = one.validation("val/top1") if one.is_leaky else None
    return Bar(
        label=one.label + what,
        ours=None if ours is None else 100 * ours[0],
        leak=None if leak is None else 100 * leak[0],
        paper=None if paper is None else paper.top1,
        is_paper_leaked=getattr(paper, "leaked", False),
    )

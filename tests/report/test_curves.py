"""The paper's figures, from our runs."""

import pytest
from matplotlib.collections import FillBetweenPolyCollection

from carsfg.report.curves import figures
from carsfg.report.groups import group
from carsfg.report.runs import read_runs
from tests.report.conftest import MakeRun


def test_figures_there_are_runs_for(make_run: MakeRun) -> None:
    make_run("cnn_seed_leaky/version_0", protocol="seed_leaky", confusions="")
    drawn = figures(group(read_runs(make_run("tl_exp1/version_0"))))
    assert [one.title for one in drawn] == [
        "Figure 1: frozen (tl_exp1, resnet50 frozen, 224 px)",
        "Figure 3: validation across transfer learning",
        "Figure 7, as the paper has it: validated on copies of training images "
        "(cnn_seed_leaky, resnet50 frozen, 224 px)",
        "Figure 8: validation across CNNs",
    ]
    (accuracy, words), (loss, _) = drawn[0].panels
    train, val, paper = accuracy.axes[0].lines
    assert train.get_xydata().tolist() == [[1, 10], [2, 50]]  # type: ignore[union-attr]
    assert (val.get_label(), paper.get_label()) == ("test images", "the paper: 42.37")
    assert words == "top-1, % by epoch. training: 10 to 50; test images: 20 to 40; the paper: 42.37"
    assert loss.axes[0].lines[1].get_xydata().tolist() == [[1, 3.5], [2, 2.5]]  # type: ignore[union-attr]
    leaky = drawn[2].panels[0][0].axes[0].lines
    assert [line.get_label() for line in leaky[1:]] == ["copies of training images", "the paper, leaked: 72.26"]


def test_the_paper_is_not_drawn_beside_other_data(make_run: MakeRun) -> None:
    drawn = figures(group(read_runs(make_run("tl_exp1/version_0", data="drawn cars"))))
    assert len(drawn[0].panels[0][0].axes[0].lines) == 2


def test_seeds_are_a_band(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    drawn = figures(group(read_runs(make_run("tl_exp1/version_1", seed=1))))
    axes = drawn[0].panels[0][0].axes[0]
    assert len([one for one in axes.collections if isinstance(one, FillBetweenPolyCollection)]) == 2


@pytest.mark.parametrize(("experiment", "k"), [("ir_exp1", 3), ("tl_exp1", 10)])
def test_the_vote(make_run: MakeRun, experiment: str, k: int) -> None:
    logs = make_run(f"{experiment}/version_0")
    with (logs / experiment / "version_0/metrics.csv").open("w") as file:
        file.write("epoch,step,test/retrieval/top_1,test/retrieval/knn_3,test/retrieval/knn_10\n1,2,.5,.75,.6\n")
    (drawing,) = [one for one in figures(group(read_runs(logs))) if one.title.startswith("Figure 4")]
    assert len(drawing.panels) == 3
    figure, words = drawing.panels[0]
    assert f"k = {k}: {75 if k == 3 else 60}.0" in words
    assert [patch.get_width() for patch in figure.axes[0].patches] == [75 if k == 3 else 60]  # type: ignore[attr-defined]
    assert ("the paper: 74.9" in words) == (experiment == "ir_exp1")

"""The paper's figures, and those of other runs."""

import io
from typing import Any

import pytest
from matplotlib.collections import PolyCollection

from carsfg.report.curves import figures
from carsfg.report.groups import group
from carsfg.report.runs import read_runs
from tests.report.conftest import CURVES, MakeRun


def test_figures_there_are_runs_for(make_run: MakeRun) -> None:
    make_run("cnn_seed_leaky/version_0", protocol="seed_leaky", confusions="")
    drawn = figures(group(read_runs(make_run("tl_exp1/version_0"))))
    assert [one.title for one in drawn] == [
        "Figure 1: frozen (tl_exp1, resnet50 frozen, 224 px)",
        "Figure 3: validation across transfer learning",
        "Figure 7 as in the paper: validated on copies of training images (cnn_seed_leaky, resnet50 frozen, 224 px)",
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


@pytest.mark.parametrize("values", [{"data_name": "drawn cars"}, {"scored_images": 8}])
def test_the_paper_is_not_drawn_beside_other_data(make_run: MakeRun, values: dict[str, Any]) -> None:
    (first,) = figures(group(read_runs(make_run("tl_exp1/version_0", **values))))
    assert first.title.startswith("tl_exp1, resnet50 frozen, 224 px, ")
    assert len(first.panels[0][0].axes[0].lines) == 2


def test_own_experiments_have_curves(make_run: MakeRun) -> None:
    rows = "epoch,step,val/top1,val/retrieval/map_at_r,test/top1\n0,1,0.2,0.1,\n1,2,0.4,0.3,\n2,2,,,0.5\n"
    make_run("tl_mine/version_0", metrics=rows)
    make_run("mine/version_0", metrics=rows)
    drawn = figures(group(read_runs(make_run("mine/version_1", metrics=rows, lr=0.1))))
    assert [one.title for one in drawn] == [
        "Validation on Stanford Cars",
        "Validation across mine",
        "mine, resnet50 frozen, 224 px, lr 0.001",
        "mine, resnet50 frozen, 224 px, lr 0.1",
        "tl_mine, resnet50 frozen, 224 px",
    ]
    assert len(drawn[0].panels[0][0].axes[0].lines) == 3
    assert [words for _, words in drawn[2].panels] == [
        "top-1, % by epoch. test images: 20 to 40",
        "MAP@R, % by epoch. test images: 10 to 30",
    ]


def test_dollars_in_a_name_are_text(make_run: MakeRun) -> None:
    drawn = figures(group(read_runs(make_run("tl_$x_^$/version_0", data_name="$\\frac$"))))
    for panel, _ in drawn[0].panels:
        panel.savefig(io.BytesIO(), format="svg")


@pytest.mark.filterwarnings("error")
def test_long_labels_leave_room_for_the_curves(make_run: MakeRun) -> None:
    metrics = CURVES.format(top1=0.5).replace("\n", ",\n").replace("test/loss,", "test/loss,test/retrieval/knn_10", 1)
    metrics = metrics.replace("2.25,", "2.25,0.5")
    for place in range(3):
        long = {"lr": place, "weights": "w" * 50 + str(place), "max_epochs": 2 + place, "val": f"{place}" * 40}
        make_run(f"mine/{place}", metrics=metrics, data_name="my photos of cars", **long)
    drawn = figures(group(read_runs(make_run("other/0", metrics=metrics, data_name="my photos of cars"))))
    assert {"Validation across mine", "Vote of the neighbours"} <= {one.title for one in drawn}
    for panel, _ in (panel for one in drawn for panel in one.panels):
        panel.savefig(io.BytesIO(), format="svg")
        assert panel.axes[0].get_window_extent().width > 300
        assert panel.axes[0].get_window_extent().height > 100


def test_seeds_are_a_band(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    drawn = figures(group(read_runs(make_run("tl_exp1/version_1", seed=1))))
    axes = drawn[0].panels[0][0].axes[0]
    assert len([one for one in axes.collections if isinstance(one, PolyCollection)]) == 2


@pytest.mark.parametrize(("experiment", "k"), [("ir_exp1", 3), ("mine", 10)])
def test_the_vote(make_run: MakeRun, experiment: str, k: int) -> None:
    rows = "epoch,step,test/retrieval/top_1,test/retrieval/knn_3,test/retrieval/knn_10\n1,2,.5,.75,.6\n"
    logs = make_run(f"{experiment}/version_0", metrics=rows, retrieval="closed_train_gallery")
    (drawing,) = [
        one for one in figures(group(read_runs(logs))) if one.title.endswith("vote") or one.title.startswith("Vote")
    ]
    assert drawing.title.startswith("Figure 4") == (experiment == "ir_exp1")
    assert len(drawing.panels) == 3
    figure, words = drawing.panels[0]
    assert f"k = {k}: {75 if k == 3 else 60}.0" in words
    assert [patch.get_width() for patch in figure.axes[0].patches] == [75 if k == 3 else 60]  # type: ignore[attr-defined]
    assert ("the paper: 74.9" in words) == (experiment == "ir_exp1")

"""Repetitions are averaged, and what differs is never mixed."""

import math
from pathlib import Path

import pytest

from carsfg.report.groups import Group, group
from carsfg.report.runs import read_runs
from tests.report.conftest import CURVES, MakeRun


def test_only_seeds_and_machines_are_repetitions(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.4)
    make_run("tl_exp1/version_1", top1=0.5, seed=1, hardware="1 x H200", versions="carsfg 0.2.0")
    make_run("tl_exp1/version_2", top1=0.9, chosen_on="holdout: val/top1")
    make_run("tl_exp1/version_3", top1=0.9, data="drawn cars")
    logs = make_run("tl_exp2/version_0", top1=0.9)
    groups = group(read_runs(logs))
    assert sorted(len(one.runs) for one in groups) == [1, 1, 1, 2]
    (both,) = [one for one in groups if len(one.runs) == 2]
    mean, deviation = both.mean("test/top1") or (0, 0)
    assert mean == pytest.approx(0.45)
    assert deviation == pytest.approx(math.sqrt(2 * 0.05**2))
    assert both.mean("test/retrieval/map") is None
    assert (both.made_by("seed"), both.made_by("hardware")) == ("0; 1", "1 x CPU; 1 x H200")


def test_a_run_that_was_tested_again_is_no_repetition(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.4)
    logs = make_run("tl_exp1/version_1", top1=0.4, hardware="1 x H200")
    (logs / "tl_exp1/version_1/metrics.csv").write_text("epoch,step,test/top1\n2,20,0.4\n")
    (one,) = group(read_runs(logs))
    assert [run.name for run in one.runs] == ["tl_exp1/version_0"]
    assert one.curve("train/top1")


def test_runs_without_stamps_are_no_repetitions(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    logs = make_run("tl_exp1/version_1")
    for name in ("version_0", "version_1"):
        (logs / "tl_exp1" / name / "hparams.yaml").unlink()
    assert [len(one.runs) for one in group(read_runs(logs))] == [1, 1]


def test_labels_tell_groups_apart(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    make_run("tl_exp1/version_1", precision="bf16-mixed")
    make_run("ir_exp1/version_0", freeze=False, data="drawn cars")
    logs = make_run("cnn_exp1/version_0", backbone=None, freeze=False, image_size=64)
    assert [one.label for one in group(read_runs(logs))] == [
        "tl_exp1, resnet50 frozen, 224 px (tl_exp1/version_0)",
        "tl_exp1, resnet50 frozen, 224 px (tl_exp1/version_1)",
        "cnn_exp1, custom CNN, 64 px",
        "ir_exp1, resnet50, 224 px, drawn cars",
    ]


@pytest.fixture
def seeds(make_run: MakeRun) -> Group:
    """Two runs, of which the second stopped one epoch earlier and was right more often."""
    make_run("tl_exp1/version_0")
    logs = make_run("tl_exp1/version_1", seed=1, confusions="class,predicted,images\nA 2012,A 2012,3\n")
    second: Path = logs / "tl_exp1/version_1/metrics.csv"
    second.write_text(CURVES.format(top1=0.5).replace("0.2,3.5", "0.3,3.5").replace("1,20,,,0.4,2.5,,,\n", ""))
    (one,) = group(read_runs(logs))
    return one


def test_curves_of_several_seeds(seeds: Group) -> None:
    (point,) = seeds.curve("val/top1")  # the second epoch was logged by one of them alone
    assert point == pytest.approx((1, 0.25, 0.2, 0.3))
    assert seeds.curve("val/none") == []


def test_mistakes_of_several_seeds(seeds: Group) -> None:
    assert seeds.confusions["A 2012", "A 2012"] == 3
    assert sum(seeds.confusions.values()) == 33

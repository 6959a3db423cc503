"""Repetitions are averaged, and what differs is never mixed."""

import math
from pathlib import Path

import pytest

from carsfg.report.groups import Group, group, left_out
from carsfg.report.runs import read_runs
from tests.report.conftest import CURVES, MakeRun


def test_only_equal_recipes_are_repetitions(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.4)
    make_run("tl_exp1/version_1", top1=0.5, seed=1, hardware="1 x H200", versions="carsfg 0.3.0")
    make_run("tl_exp1/version_2", top1=0.9, chosen_on="holdout: val/top1")
    make_run("tl_exp1/version_3", top1=0.9, data_name="drawn cars")
    make_run("tl_exp1/version_4", top1=0.9, seed=1, callbacks={"my.Smoothing": {"decay": 0.9}})
    logs = make_run("tl_exp2/version_0", top1=0.9)
    groups = group(read_runs(logs))
    assert sorted(len(one.runs) for one in groups) == [1, 1, 1, 1, 2]
    (both,) = [one for one in groups if len(one.runs) == 2]
    assert {run.record.recipe_hash for run in both.runs} == {both.record.recipe_hash}
    mean, deviation = both.mean("test/top1") or (0, 0)
    assert mean == pytest.approx(0.45)
    assert deviation == pytest.approx(math.sqrt(2 * 0.05**2))
    assert both.mean("test/retrieval/map") is None
    assert (both.distinct("seed"), both.distinct("hardware")) == ("0; 1", "1 x CPU; 1 x H200")


def test_of_two_equal_runs_with_one_seed_the_last_is_shown_and_the_other_named(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_9", top1=0.4)
    make_run("tl_exp1/version_10", top1=0.5)
    runs = read_runs(make_run("tl_exp1/version_2", top1=0.3))
    (one,) = group(runs)
    assert [run.name for run in one.runs] == ["tl_exp1/version_10"]
    assert left_out(runs, [one]) == [
        f"left out: tl_exp1/version_{number}, another run with its recipe and seed 0 is shown" for number in (2, 9)
    ]


TESTED_AGAIN = "epoch,step,test/top1\n2,20,0.4\n"


@pytest.mark.parametrize(("first", "again"), [("version_0", "version_1"), ("version_1", "version_0")])
def test_a_test_of_the_checkpoint_is_not_a_repetition(make_run: MakeRun, first: str, again: str) -> None:
    make_run(f"tl_exp1/{first}", top1=0.4)
    logs = make_run(f"tl_exp1/{again}", metrics=TESTED_AGAIN, hardware="1 x H200")
    (one,) = group(read_runs(logs))
    assert [run.name for run in one.runs] == [f"tl_exp1/{first}"]
    assert one.curve("train/top1")


@pytest.mark.parametrize(("first", "again"), [("version_0", "version_1"), ("version_1", "version_0")])
def test_a_partial_test_never_replaces_a_whole_one(make_run: MakeRun, first: str, again: str) -> None:
    make_run(f"tl_exp1/{first}", metrics=TESTED_AGAIN)
    logs = make_run(f"tl_exp1/{again}", top1=0.9, scored_images=8)
    (one,) = group(read_runs(logs))
    assert [run.name for run in one.runs] == [f"tl_exp1/{first}"]


def test_partial_tests_are_never_averaged(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.4)
    make_run("tl_exp1/version_1", top1=0.8, seed=1, scored_images=8)
    logs = make_run("tl_exp1/version_2", top1=0.9, seed=2, scored_images=8)
    groups = group(read_runs(logs))
    assert [len(one.runs) for one in groups] == [1, 1, 1]
    assert [one.is_for_the_paper for one in groups] == [True, False, False]
    assert groups[1].label == "tl_exp1, resnet50 frozen, 224 px, 8 of 16 images (tl_exp1/version_1)"


def test_labels_name_a_callback_that_only_some_runs_have(make_run: MakeRun) -> None:
    make_run("mine/version_0")
    logs = make_run("mine/version_1", callbacks={"my.Smoothing": {"decay": 0.9, "device": None}})
    assert [one.label for one in group(read_runs(logs))] == [
        "mine, resnet50 frozen, 224 px", "mine, resnet50 frozen, 224 px, Smoothing",
    ]  # fmt: skip


def test_a_test_later_on_completes_a_training_without_one(make_run: MakeRun) -> None:
    curves = "epoch,step,val/top1,val/loss\n0,1,0.8,1\n1,2,0.9,1\n"
    make_run("tl_exp1/version_0", metrics=curves, scored_images=0)
    logs = make_run("tl_exp1/version_1", metrics=TESTED_AGAIN)
    runs = read_runs(logs)
    (one,) = group(runs)
    assert len(one.runs) == 1
    assert left_out(read_runs(logs), []) != left_out(runs, [one]) == []
    assert one.mean("test/top1") == pytest.approx((0.4, math.nan), nan_ok=True)
    assert [point[:2] for point in one.curve("val/top1")] == [(1, 0.8), (2, 0.9)]


@pytest.mark.parametrize(
    ("chosen_on", "expected"),
    [("last epoch", 0.3), ("holdout: val/top1", 0.5), ("holdout: val/loss", 0.2), ("holdout: val/other", 0.3)],
)
def test_validation_is_that_of_the_epoch_whose_weights_were_kept(
    make_run: MakeRun, chosen_on: str, expected: float
) -> None:
    rows = "epoch,step,val/top1,val/loss\n0,1,0.2,1\n1,2,0.5,3\n2,3,0.3,2\n"
    (one,) = group(read_runs(make_run(metrics=rows, chosen_on=chosen_on, max_epochs=3)))
    assert one.validation("val/top1") == pytest.approx((expected, math.nan), nan_ok=True)
    assert one.validation("val/none") is None


@pytest.mark.parametrize(("mode", "expected"), [({"mode": "max"}, 0.5), ({"mode": "min"}, 0.2), ({}, 0.2)])
def test_the_mode_of_the_checkpoint_decides_which_epoch_is_best(
    make_run: MakeRun, mode: dict[str, str], expected: float
) -> None:
    rows = "epoch,step,val/top1,val/score\n0,1,0.2,1\n1,2,0.5,3\n2,3,0.3,2\n"
    callbacks = {
        "lightning.pytorch.callbacks.early_stopping.EarlyStopping": {"monitor": "val/score", "mode": "max"},
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": {"monitor": "val/score"} | mode,
    }
    logs = make_run(metrics=rows, chosen_on="holdout: val/score", callbacks=callbacks, max_epochs=3)
    (one,) = group(read_runs(logs))
    assert one.validation("val/top1") == pytest.approx((expected, math.nan), nan_ok=True)


def test_a_metric_that_is_not_a_number_is_left_out(make_run: MakeRun) -> None:
    rows = (
        "epoch,step,val/loss,val/retrieval/map_at_r,test/top1,test/retrieval/top_1\n0,1,2,nan,0.5,nan\n1,2,nan,nan,,\n"
    )
    (one,) = group(read_runs(make_run(metrics=rows)))
    assert one.curve("val/retrieval/map_at_r") == []
    assert one.curve("val/loss") == [(1, 2, 2, 2)]
    assert one.validation("val/loss") is None  # not an earlier value of a run that diverged
    assert one.mean("test/retrieval/top_1") is one.validation("val/retrieval/map_at_r") is None
    assert one.mean("test/top1") == pytest.approx((0.5, math.nan), nan_ok=True)


def test_labels_tell_groups_apart(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    make_run("tl_exp1/version_1", precision="bf16-mixed")
    make_run("ir_exp1/version_0", freeze="none", data_name="drawn cars")
    logs = make_run(
        "cnn_exp1/version_0", task_class="carsfg.tasks.cnn.CarCNN", backbone=None, image_size=64, freeze="none"
    )
    assert [one.label for one in group(read_runs(logs))] == [
        "tl_exp1, resnet50 frozen, 224 px, precision 32-true",
        "tl_exp1, resnet50 frozen, 224 px, precision bf16-mixed",
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


def test_confusions_of_several_seeds(seeds: Group) -> None:
    assert seeds.confusions["A 2012", "A 2012"] == 3
    assert sum(seeds.confusions.values()) == 33

"""Reading runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from carsfg.errors import InputError
from carsfg.report.runs import read_runs
from tests.report.conftest import MakeRun


def test_a_run_is_read(make_run: MakeRun) -> None:
    (run,) = read_runs(make_run("some/folder/resnet50", experiment="tl_exp1"))
    assert (run.name, run.record.experiment) == ("some/folder/resnet50", "tl_exp1")
    assert run.curves["train/top1"] == [(1, 0.1), (2, 0.5)]
    assert run.curves["val/loss"] == [(1, 3.5), (2, 2.5)]
    assert run.last["test/top1"] == 0.425
    assert run.confusions["Audi S4 Sedan 2007", "Audi S4 Sedan 2012"] == 3


def test_the_parts_of_a_resumed_run_are_one(make_run: MakeRun) -> None:
    folder = make_run(metrics="epoch,step,val/top1,test/top1\n3,9,0.4,\n4,9,,0.5\n") / "tl_exp1/version_0"
    (folder / "metrics-2.csv").write_text("epoch,step,val/top1\n1,3,0.21\n2,6,0.31\n")
    (folder / "metrics-10.csv").write_text("epoch,step,val/top1\n2,6,0.32\n3,9,0.99\n")
    (folder / "metrics-0.csv").write_text("epoch,step,val/top1\n0,1,0.1\n1,3,0.2\n")
    (folder / "metrics-old.csv").write_text("epoch,step,val/top1\n0,1,0.77\n")
    (run,) = read_runs(folder.parents[1])
    assert run.curves["val/top1"] == [(1, 0.1), (2, 0.21), (3, 0.32), (4, 0.4)]
    assert run.last == {"val/top1": 0.4, "test/top1": 0.5}


STOPPED = "epoch,step,val/top1,val/loss\n0,1,0.9,1\n"


@pytest.mark.parametrize(
    ("metrics", "values"),
    [
        ("epoch,step,val/top1,val/loss\n0,1,0.8,1\n1,2,0.9,1\n", {}),
        ("epoch,step,train/loss\n0,1,0.8\n1,2,0.9\n", {"val": "none"}),
        (STOPPED, {"callbacks": {"lightning.pytorch.callbacks.early_stopping.EarlyStopping": {}}}),
        (STOPPED, {"max_steps": 5}),
    ],
)
def test_a_finished_run_needs_no_test(make_run: MakeRun, metrics: str, values: dict[str, Any]) -> None:
    (run,) = read_runs(make_run(metrics=metrics, scored_images=0, **values))
    assert not run.is_tested
    assert not run.is_partial


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (STOPPED, "was not tested, and has 1 of 2 epochs"),
        ("lr-Adam,step\n0.001,0\n", "was not tested, and has 0 of 2 epochs"),
        ("", "was not tested"),
        ("epoch,step,test/top1\n1,2,much\n", "files of the run are damaged"),
        ("epoch,step,test/top1\nlast,2,0.5\n", "files of the run are damaged"),
    ],
)
def test_other_runs_are_skipped_with_a_line(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], metrics: str, said: str
) -> None:
    make_run("other/version_0", metrics=metrics)
    assert [run.name for run in read_runs(make_run())] == ["tl_exp1/version_0"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skipped: ")
    assert said in line


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "has no run_record.json"), ("{", "is damaged"), ("[]", "damaged"), (json.dumps({"task": 1}), "damaged")],
)
def test_a_run_without_a_record_is_skipped(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    logs = make_run("other/version_0")
    (logs / "other/version_0/run_record.json").unlink()
    if text is not None:
        (logs / "other/version_0/run_record.json").write_text(text)
    assert [run.name for run in read_runs(make_run())] == ["tl_exp1/version_0"]
    assert said in capsys.readouterr().err


def test_a_run_without_an_epoch_is_skipped_whatever_may_end_it(make_run: MakeRun) -> None:
    make_run("other/version_0", metrics="lr-Adam,step\n0.001,0\n", max_steps=5)
    assert [run.name for run in read_runs(make_run())] == ["tl_exp1/version_0"]


@pytest.mark.parametrize(("scored", "part"), [(8, "8 of 16 images"), (16, ""), (0, "")])
def test_a_partial_test_is_marked(make_run: MakeRun, scored: int, part: str) -> None:
    (run,) = read_runs(make_run(scored_images=scored))
    assert (run.is_partial, run.scored_part) == (bool(part), part)


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_runs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is finished"):
        read_runs(tmp_path)

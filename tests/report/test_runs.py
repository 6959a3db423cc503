"""Reading runs."""

from pathlib import Path

import pytest

from carsfg.errors import InputError
from carsfg.report.runs import read_runs
from tests.report.conftest import MakeRun


def test_a_run_is_read(make_run: MakeRun) -> None:
    (run,) = read_runs(make_run("reference/tl_exp1/resnet50"))
    assert (run.name, run.experiment) == ("reference/tl_exp1/resnet50", "tl_exp1")
    assert run.curves["train/top1"] == [(1, 0.1), (2, 0.5)]
    assert run.curves["val/loss"] == [(1, 3.5), (2, 2.5)]
    assert run.test["test/top1"] == 0.425
    assert run.confusions["Audi S4 Sedan 2007", "Audi S4 Sedan 2012"] == 3


def test_runs_without_a_test_are_left_out(make_run: MakeRun) -> None:
    logs = make_run()
    untested = logs / "tl_exp1/version_1"
    untested.mkdir()
    (untested / "metrics.csv").write_text("epoch,step,val/top1\n0,1,0.9\n")
    assert [run.name for run in read_runs(logs)] == ["tl_exp1/version_0"]
    (logs / "tl_exp1/version_0/metrics.csv").unlink()
    with pytest.raises(InputError, match="was tested"):
        read_runs(logs)


def test_a_damaged_run_does_not_hide_the_others(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    logs = make_run()
    other = logs / "other/version_0"
    other.mkdir(parents=True)
    for damage, said in (
        ("epoch,step,test/top1\n1,2,much\n", "its files are damaged"),
        ("lr-Adam,step\n0.001,0\n", ""),
    ):
        (other / "metrics.csv").write_text(damage)
        assert [run.name for run in read_runs(logs)] == ["tl_exp1/version_0"]
        assert said in capsys.readouterr().err
    (other / "hparams.yaml").write_text("seed: [")
    assert [run.name for run in read_runs(logs)] == ["tl_exp1/version_0"]
    assert "hparams.yaml is damaged" in capsys.readouterr().err


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        read_runs(tmp_path / "nowhere")

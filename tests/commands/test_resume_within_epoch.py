"""A run that was killed within an epoch goes on with the next batch, and ends with the same weights."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.cli import main
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from tests.conftest import TINY_RESNET

KILL = """
import os, signal
from lightning import Callback

class Kill(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if f"{trainer.current_epoch}.{batch_idx}" == os.environ.get("KILL_BEFORE"):
            if "KILL_ALL" in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
"""
CNN = {
    "class_path": "carsfg.CarCNN",
    "init_args": {
        "widths": [8, 16], "dropout": 0.5, "optimizer": "AdamW", "scheduler": "OneCycleLR", "image_size": 32,
    },
}  # fmt: skip
RESNET = {"backbone": TINY_RESNET, "weights": None, "dropout": 0.5, "image_size": 32}
BLENDS = {"class_path": "carsfg.callbacks.MixupCutmix", "init_args": {"share": 0.5}}
SIZES = {
    "class_path": "carsfg.callbacks.ProgressiveResolution",
    "init_args": {"sizes": [{"image_size": 16, "epochs": 1}, {"image_size": 24, "epochs": 1}]},
}
AVERAGE = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.9}}
STAGES = {
    "class_path": "carsfg.callbacks.StagedUnfreezing",
    "init_args": {
        "stages": [
            {"modules": ["head"], "epochs": 1, "lr": 0.01},
            {"modules": ["backbone.layer4"], "epochs": 2, "lr": 0.01},
        ]
    },
}
BEST = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"monitor": "val/loss"}}
ALL_AT_ONCE = {"model": CNN, "callbacks": [BLENDS, SIZES, AVERAGE]}


def classifier(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "carsfg.CarClassifier", "init_args": {**RESNET, **arguments}}


CASES: dict[str, dict[str, Any]] = {
    "all_at_once": ALL_AT_ONCE,
    "resident": {**ALL_AT_ONCE, "data": {"on_device": True}},
    "workers": {**ALL_AT_ONCE, "data": {"num_workers": 2}},
    "stages": {"model": classifier(), "callbacks": [STAGES], "data": {"val": "none"}},
    "features": {"model": classifier(freeze="backbone"), "data": {"augment": "none"}},
    "accumulated": {"model": classifier(), "trainer": {"accumulate_grad_batches": 2}},
    "best": {"model": classifier(), "callbacks": [BEST], "trainer": {"val_check_interval": 2}},
    "balanced": {"model": classifier(), "data": {"images_per_class": 2}},
}
Fit = Callable[..., int]


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cars")
    draw_cars(root, DrawnCars(classes=3, train=9, test=4), progress=False)
    return root


@pytest.fixture
def folder(cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("kill_for_test.py").write_text(KILL)
    yield cars
    sys.modules.pop("kill_for_test", None)
    sys.path[:] = [one for one in sys.path if one != str(tmp_path)]


def configure(cars: Path, case: dict[str, Any]) -> list[str]:
    """Write the config of a case, with 6 batches an epoch; return the words of `carsfg fit`."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    saving = {"class_path": "carsfg.callbacks.SaveWithinEpochs", "init_args": {"minutes": 0}}
    callbacks = [*case.get("callbacks", []), saving, {"class_path": "kill_for_test.Kill"}]
    data = {"root": str(cars), "val": "holdout", "augment": "zoom_flip_rotate_jitter", "batch_size": 4}
    trainer = {"max_epochs": 3, "precision": "32-true", "num_sanity_val_steps": 2, **quiet, "callbacks": callbacks}
    data_block = {"class_path": "carsfg.StanfordCarsDataModule", "init_args": {**data, **case.get("data", {})}}
    whole = {"model": case["model"], "data": data_block, "trainer": {**trainer, **case.get("trainer", {})}}
    Path("all.yaml").write_text(json.dumps(whole))
    return ["fit", "--config", "all"]


def newest(run: str) -> dict[str, Any]:
    paths = Path(f"lightning_logs/all/{run}/checkpoints").glob("*.ckpt")
    loaded: dict[str, Any] = torch.load(max(paths, key=lambda path: path.stat().st_mtime_ns), weights_only=True)
    return loaded


def tensors(run: str) -> dict[str, torch.Tensor]:
    """All tensors of a run's last checkpoint: weights, their average, and those of the optimizer."""
    checkpoint = newest(run)
    found = {f"average.{key}": value for key, value in checkpoint["state_dict"].items()}
    found |= {f"current.{key}": value for key, value in checkpoint.get("current_model_state", {}).items()}
    for place, state in checkpoint["optimizer_states"][0]["state"].items():
        found |= {f"optimizer.{place}.{key}": value for key, value in state.items()}
    return found


def differing(one: str, other: str) -> list[str]:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    return [key for key, value in first.items() if not torch.equal(value, second[key])]


def metrics(run: str) -> dict[str, str]:
    """The last value of each validation and test metric, but for durations."""
    values: dict[str, str] = {}
    for path in sorted(Path(f"lightning_logs/all/{run}").glob("metrics*.csv"), key=lambda one: one.stat().st_mtime_ns):
        with path.open() as file:
            for row in csv.DictReader(file):
                values |= {key: value for key, value in row.items() if value and key.startswith(("val/", "test/"))}
    return {key: value for key, value in values.items() if not key.endswith("_s")}


def within_epochs(run: str) -> list[str]:
    return sorted(path.name for path in Path(f"lightning_logs/all/{run}/checkpoints").glob("within-epoch*"))


@pytest.mark.parametrize("name", CASES)
def test_stopped_within_an_epoch_and_resumed(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = configure(folder, CASES[name])
    assert main([*words, "--name=whole"]) == 0
    assert within_epochs("whole") == []
    monkeypatch.setenv("KILL_BEFORE", "1.5")
    assert main([*words, "--name=stopped"]) == 1
    assert len(within_epochs("stopped")) == 2
    monkeypatch.delenv("KILL_BEFORE")
    caplog.clear()
    assert main(["fit", "--resume=lightning_logs/all/stopped"]) == 0
    after, batches = {"accumulated": 4}.get(name, 5), {"stages": 7}.get(name, 6)
    assert f"epoch 2 continues after batch {after} of {batches}; its train/loss and train/top1" in caplog.text
    assert differing("whole", "stopped") == []
    assert metrics("whole") == metrics("stopped")
    assert within_epochs("stopped") == []


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_within_an_epoch_and_resumed(processes: int, folder: Path) -> None:
    def run(*more: str, **variables: str) -> int:
        known = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
        return subprocess.run([sys.executable, "-m", "carsfg", *more], env=known, check=False).returncode

    devices = {"devices": processes, "strategy": "auto" if processes == 1 else "ddp"}
    words = configure(folder, {**ALL_AT_ONCE, "data": {"batch_size": 4 // processes}, "trainer": devices})
    assert run(*words, "--name=whole") == 0
    assert run(*words, "--name=killed", KILL_BEFORE="1.3", KILL_ALL="1") == -signal.SIGKILL
    assert within_epochs("killed") == ["within-epoch=1-step=8.ckpt", "within-epoch=1-step=9.ckpt"]
    assert run("fit", "--resume=lightning_logs/all/killed") == 0
    assert differing("whole", "killed") == []


def test_another_batch_size_does_not_continue_an_epoch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = configure(folder, CASES["features"])
    monkeypatch.setenv("KILL_BEFORE", "0.3")
    assert main([*words, "--name=stopped"]) == 1
    monkeypatch.delenv("KILL_BEFORE")
    assert main(["fit", "--resume=lightning_logs/all/stopped", "--data.batch_size=8"]) == 2
    said = "saved after 3 of 6 batches of an epoch on 1 processes, the epoch now has 3 batches on 1: use the data, the"
    assert said in capsys.readouterr().err


def test_a_damaged_checkpoint_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = configure(folder, CASES["features"])
    assert main([*words, "--name=whole"]) == 0
    monkeypatch.setenv("KILL_BEFORE", "1.4")
    assert main([*words, "--name=stopped"]) == 1
    monkeypatch.delenv("KILL_BEFORE")
    saved = Path("lightning_logs/all/stopped/checkpoints")
    path = saved / "within-epoch=1-step=10.ckpt"
    path.write_bytes(path.read_bytes()[:-1000])
    os.utime(path)
    (saved / ".writing-1.ckpt").write_text("what a killed process leaves")
    assert main(["fit", "--resume=lightning_logs/all/stopped"]) == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = (one for one in lines if "damaged" in one)
    assert line.startswith(f"cannot read checkpoint {path}: it is damaged")
    assert line.endswith(f"; using the one before, {saved}/within-epoch=1-step=9.ckpt")
    assert differing("whole", "stopped") == []
    assert [one.name for one in saved.iterdir()] == ["epoch=2-step=18.ckpt"]

"""One seed, one set of weights: two runs alike, and a run that was killed and resumed like one that was not."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from carsfg.callbacks import predictions
from carsfg.cli import main
from carsfg.commands.resume import ResumedRun
from carsfg.commands.run_checkpoints import trained_steps
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars

# all that could make runs differ at once: dropout, a schedule by step, blends, sizes, and an average of the weights
CONFIG = """
model:
  class_path: carsfg.CarCNN
  init_args:
    {widths: [8, 16], residual: true, stem: 2, dropout: 0.5, optimizer: AdamW, scheduler: OneCycleLR, image_size: 32}
data:
  class_path: carsfg.StanfordCarsDataModule
  init_args: {val: holdout, augment: zoom_flip_rotate_jitter, batch_size: 8}
trainer:
  max_epochs: 5
  enable_progress_bar: false
  enable_model_summary: false
  accelerator: cpu
  precision: 32-true
  callbacks:
    - class_path: carsfg.callbacks.MixupCutmix
      init_args: {share: 0.5}
    - class_path: carsfg.callbacks.ProgressiveResolution
      init_args: {sizes: [{image_size: 16, epochs: 2}, {image_size: 24, epochs: 2}]}
    - class_path: lightning.pytorch.callbacks.EMAWeightAveraging
      init_args: {decay: 0.9}
"""
Checkpoint = dict[str, torch.Tensor]
Words = Callable[..., list[str]]


@pytest.fixture
def words(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Words:
    """The words of a `carsfg fit` in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path_factory.mktemp("cars")
    draw_cars(root, DrawnCars(classes=3, train=8, test=4), progress=False)
    Path("all.yaml").write_text(CONFIG)
    return lambda *more: ["fit", "--config", "all", f"--data.root={root}", *more]


def tensors(version: int) -> Checkpoint:
    """All weights of a run's last checkpoint: those in use, their average, and the optimiser's."""
    (path,) = Path(f"lightning_logs/all/version_{version}/checkpoints").glob("epoch=4-*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    found = {f"average.{key}": value for key, value in checkpoint["state_dict"].items()}
    found |= {f"current.{key}": value for key, value in checkpoint["current_model_state"].items()}
    for place, state in checkpoint["optimizer_states"][0]["state"].items():
        found |= {f"optimizer.{place}.{key}": value for key, value in state.items()}
    return found


def differing(one: Checkpoint, other: Checkpoint) -> list[str]:
    assert one.keys() == other.keys()
    return [key for key, value in one.items() if not torch.equal(value, other[key])]


def test_two_runs_are_the_same(words: Words) -> None:
    assert main(words()) == 0
    assert main(words()) == 0
    assert main(words("--seed_everything=1")) == 0
    first, second, other = (tensors(version) for version in range(3))
    assert differing(first, second) == []
    learned = "current.backbone.blocks.0.convolutions.0.weight"
    assert not torch.equal(first[learned], first[learned.replace("current", "average")])
    assert not torch.equal(first[learned], other[learned])


@pytest.mark.slow
@pytest.mark.parametrize("val", ["holdout", "none"])
def test_killed_in_some_epoch_and_resumed(val: str, words: Words) -> None:
    assert main(words(f"--data.val={val}")) == 0
    epochs = random.SystemRandom().randint(2, 4)  # any will do, so each run of this test tries another
    command = [sys.executable, "-u", "-m", "carsfg", *words(f"--data.val={val}")]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    assert process.stdout is not None
    while f"epoch {epochs}/5" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    saved = sorted(Path("lightning_logs/all/version_1/checkpoints").glob("*.ckpt"), key=lambda f: f.stat().st_mtime)
    assert main(words(f"--data.val={val}", f"--ckpt_path={saved[-1]}")) == 0
    assert differing(tensors(0), tensors(2)) == [], f"killed after epoch {epochs}"


def test_a_trained_run_is_resumed_for_its_test(words: Words) -> None:
    assert main(words("--name=whole", "--trainer.max_epochs=2")) == 0
    assert main(words("--name=untested", "--trainer.max_epochs=2", "--test_after_fit=false")) == 0
    assert main(["fit", "--resume=lightning_logs/all/untested", "--test_after_fit=true"]) == 0
    assert metrics_of("untested") == metrics_of("whole")  # with the averaged weights, too
    assert main(["fit", "--resume=lightning_logs/all/untested", "--test_after_fit=true"]) == 2


def test_a_run_that_was_stopped_before_its_predictions_were_written(
    words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predictions, "write_table", stop)
        assert main(words("--name=stopped", "--trainer.max_epochs=1")) == 1
    table = Path("lightning_logs/all/stopped/predictions.csv")
    assert not table.exists()
    assert main(["fit", "--resume=lightning_logs/all/stopped"]) == 0
    assert len(table.read_text().splitlines()) == 1 + 12
    assert metrics_of("stopped")


def test_a_run_is_resumed_from_its_last_epoch_not_from_its_best(words: Words) -> None:
    keep = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/loss, mode: max}}"
    settings = [f"--trainer.callbacks=[{keep}]", "--trainer.max_epochs=3", "--model.lr=0.01"]
    assert main(words("--name=whole", *settings)) == 0
    assert main(words("--name=untested", *settings, "--test_after_fit=false")) == 0
    folder = Path("lightning_logs/all/untested/checkpoints")
    steps = {path.name: trained_steps(path) for path in folder.iterdir()}
    assert steps == {"epoch=0-step=3.ckpt": 3, "last.ckpt": 9}  # the loss was highest at the start
    for run in ("untested", "moved"):
        if run == "moved":
            Path("lightning_logs/all/untested").rename("lightning_logs/all/moved")
            Path("lightning_logs/all/moved/metrics.csv").unlink()
        assert main(["fit", f"--resume=lightning_logs/all/{run}", "--test_after_fit=true"]) == 0
        assert metrics_of(run) == metrics_of("whole")
        assert not list(Path(f"lightning_logs/all/{run}").glob("checkpoints/*-v1.ckpt"))  # nothing was trained again


def test_a_longer_training_of_a_tested_run_is_not_tested_yet(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "run_record.json").write_text(json.dumps(RunRecord().to_dict()))
    (tmp_path / "metrics-0.csv").write_text("epoch,test/top1\n1,0.5\n")
    (tmp_path / "metrics.csv").write_text("epoch,val/top1\n2,0.5\n")
    assert not ResumedRun(str(tmp_path)).is_tested()
    (tmp_path / "metrics.csv").write_text("epoch,val/top1,test/top1\n2,0.5,\n")
    assert ResumedRun(str(tmp_path)).is_tested()


def metrics_of(run: str) -> dict[str, str]:
    """Values of the test of a run, but for durations."""
    with Path(f"lightning_logs/all/{run}/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["test/loss"]]
    assert len(rows) == 1
    return {key: value for key, value in rows[0].items() if key.startswith("test/") and not key.endswith("_s")}

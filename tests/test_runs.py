"""The scripts in runs/: every row once, in order, without a second training of what is done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from carsfg.synthetic.dataset import DrawnCars, draw_cars

RUNS = Path(__file__).parents[1] / "runs"
# notes its words; a training leaves a config and a checkpoint, and dies before its test if it is named in DIES
STUB = """#!/usr/bin/env bash
echo "$*" >> words.txt
[ "$1" = fit ] || [ "$1" = test ] || exit 0
if [ "$2" = --resume ]; then touch "$3/predictions.csv"; exit 0; fi
experiment=$(basename "$3" .yaml)
while [ "$1" != --name ]; do shift; done
run=lightning_logs/$experiment/$2
mkdir -p "$run/checkpoints"
touch "$run/config.yaml" "$run/checkpoints/epoch=0-step=1.ckpt"
[ "$experiment" = "${DIES:-}" ] && exit 1
touch "$run/predictions.csv"
"""
ROWS = [
    "tl_exp1/resnet50", "tl_exp2/resnet50", "tl_exp3/resnet50", "tl_densenet121/densenet121", "ir_exp1/resnet50",
    "ir_exp2/resnet50", "ir_exp3/densenet121", "cnn_exp1/128px",
    "cnn_exp2/128px", "cnn_exp3/128px", "cnn_seed_leaky/128px",
]  # fmt: skip


def run(script: str, folder: Path, *words: str, **settings: str) -> list[str]:
    """Run a script in a folder, and return the lines that it prints about rows."""
    environment = {**os.environ, "PYTHONPATH": str(RUNS.parent), "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run(
        [RUNS / script, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == int("DIES" in settings), done.stderr
    return [line.removeprefix("== ") for line in done.stdout.splitlines() if line.startswith("== ")]


@pytest.fixture
def stub(tmp_path: Path) -> str:
    path = tmp_path / "stub"
    path.write_text(STUB)
    path.chmod(0o755)
    return str(path)


def test_the_rows_of_the_paper(tmp_path: Path, stub: str) -> None:
    scored = {"ir_exp1/resnet50", "ir_exp2/resnet50"}
    names = [f"{row}: scores tl_exp3/resnet50" if row in scored else row for row in ROWS]
    names[6] += ": scores tl_densenet121/densenet121"
    assert run("paper.sh", tmp_path, CARSFG=stub) == names
    words = (tmp_path / "words.txt").read_text().splitlines()
    assert words[0] == "data check data"
    assert words[3] == (
        "fit --config tl_exp3.yaml --config head_first.yaml --model.backbone=resnet50 --model.weights=DEFAULT "
        "--model.image_size=224 --name resnet50 --data.root data --trainer.default_root_dir lightning_logs"
    )
    assert words[6].startswith(
        "test --config ir_exp2.yaml --model.backbone resnet50 --model.image_size 224 --model.init_"
    )
    assert "from lightning_logs/tl_exp3/resnet50/checkpoints/epoch=0-step=1.ckpt --model.weights null" in words[6]
    assert words[-1] == "report lightning_logs --output report --data.root data"


def test_what_is_done_is_skipped_and_what_was_interrupted_continues(tmp_path: Path, stub: str) -> None:
    assert run("paper.sh", tmp_path, CARSFG=stub, DIES="tl_exp3") == ROWS[:3]
    (tmp_path / "words.txt").unlink()
    lines = run("paper.sh", tmp_path, CARSFG=stub)
    assert lines[:4] == ["tl_exp1/resnet50: done", "tl_exp2/resnet50: done", "tl_exp3/resnet50: continues", ROWS[3]]
    assert (tmp_path / "words.txt").read_text().splitlines()[1] == "fit --resume lightning_logs/tl_exp3/resnet50"


def test_settings(tmp_path: Path, stub: str) -> None:
    settings = {"DATA": "my cars", "WEIGHTS": "w", "SIZE": "96", "OPTIONS": "--trainer.precision=bf16-mixed"}
    run("best.sh", tmp_path, CARSFG=stub, RESNET="resnet18", **settings)
    first = (tmp_path / "words.txt").read_text().splitlines()[1]
    assert first == (
        "fit --config tl_best.yaml --model.backbone=resnet18 --model.weights=w/resnet18.pt --model.image_size=96 "
        "--name resnet18 --data.root my cars --trainer.default_root_dir lightning_logs --trainer.precision=bf16-mixed"
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", ["paper.sh", "best.sh"])
def test_from_the_data_to_the_page(script: str, tmp_path: Path) -> None:
    draw_cars(tmp_path / "cars", DrawnCars(classes=48, train=6, test=3), progress=False)
    for name in ("resnet18", "densenet121"):
        torch.save(torchvision.models.get_model(name).state_dict(), tmp_path / f"{name}.pt")
    settings = {"DATA": "cars", "WEIGHTS": ".", "RESNET": "resnet18", "SIZE": "64", "CNN_SIZE": "32"}
    settings |= {"CARSFG": f"{sys.executable} -m carsfg", "OPTIONS": "--trainer.enable_progress_bar=false"}
    rows = run(script, tmp_path, "--fast", **settings)
    assert len(rows) == {"paper.sh": 11, "best.sh": 7}[script]
    page = (tmp_path / "fast_report/report.md").read_text()
    assert all(row.partition("/")[0] in page for row in rows)
    assert not (tmp_path / "lightning_logs").exists()  # a trial does not stand for a run
    assert run(script, tmp_path, "--fast", **settings) == [f"{row.partition(':')[0]}: done" for row in rows]

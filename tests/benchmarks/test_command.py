"""Whole processes: asking for help, against a bare LightningCLI program; a search, against its imports."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from carsfg.cli import main
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.benchmarks.conftest import Pair, seconds

pytestmark = pytest.mark.measure
IMPORTS = "import torch, torchvision, faiss"
ROUNDS = 7
BARE = "from lightning.pytorch.cli import LightningCLI; LightningCLI()"


def test_help(pair: Pair) -> None:
    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words, "--help"], capture_output=True, check=True)

    ours, theirs = (lambda: run("-m", "carsfg")), (lambda: run("-c", BARE))
    pair("`carsfg --help`", "a bare LightningCLI program's --help", "4x", ours, theirs)


@pytest.mark.parametrize("box", ["none", "auto"])
def test_search(box: str, benchmark: Any, tmp_path: Path) -> None:
    """The mark is a difference: a search takes at most half a second more than its imports."""
    torch.manual_seed(0)
    cars = draw_cars(tmp_path, DrawnCars(classes=4, train=20, test=1), progress=False)
    task = EmbeddingExtractor(class_names=["a", "b"], backbone="mobilenet_v2", weights=None, projection=512)
    save_network(task, tmp_path / "run.ckpt", RunRecord(data={"crop": True, "image_size": 224}))
    gallery, photo = tmp_path / "gallery", next((cars / "cars_test").glob("*.jpg"))
    assert main(["index", str(tmp_path / "run.ckpt"), str(cars), f"--output={gallery}", "--device=cpu"]) == 0

    def run(*words: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, *words], capture_output=True, check=True))

    ours = ("-m", "carsfg", "search", str(gallery), str(photo), "--device=cpu", f"--box={box}")
    run(*ours)
    times = [(run("-c", IMPORTS), run(*ours)) for _ in range(ROUNDS)]
    more = median(whole - imports for imports, whole in times)
    benchmark.extra_info.update(
        work=f"`carsfg search` of one photo, whole process, MobileNetV2, box {box}",
        rival=f'`python -c "{IMPORTS}"`',
        mark="at most 0.5 s more",
        said=f"{more:+.2f} s",
        more_s=more,
        ratio=median(whole / imports for imports, whole in times),
        ours_s=median(whole for _, whole in times),
        rival_s=median(imports for imports, _ in times),
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
    )
    benchmark.pedantic(lambda: None)

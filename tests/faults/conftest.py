"""The smallest data and networks: two drawn cars of four images each, a CNN of one block, a gallery of eight photos."""

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.cli import main
from carsfg.plots import log_figure
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN

CONFIG = """
model: {class_path: carsfg.CarCNN, init_args: {widths: [4], dropout: 0.5, image_size: 16}}
data: {class_path: carsfg.StanfordCarsDataModule, init_args: {val: none, augment: {flip: true}, batch_size: 2}}
trainer:
  max_epochs: 3
  enable_progress_bar: false
  enable_model_summary: false
  accelerator: cpu
  precision: 32-true
  callbacks: [{class_path: carsfg.callbacks.SaveWithinEpochs, init_args: {minutes: 0}}]
"""
ROUNDS = pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.slow)])
Verb = Callable[..., int]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> None:
    """Threads of OpenMP do not exist in a forked child, which would wait for them."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    draw_cars(root, DrawnCars(classes=2, train=4, test=4), progress=False)
    return root


@pytest.fixture(scope="package")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small CNN, which learned from whole photos."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "cnn.ckpt"
    record = RunRecord(data={"crop": True, "learned_from": "whole photos", "image_size": 16})
    save_network(CarCNN(class_names=["Astra", "Corsa"], widths=[4], image_size=16), path, record)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a config and eight photos in class folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log_figure, "SENDERS", {})  # figures take most of the time of such short runs
    (tmp_path / "small.yaml").write_text(CONFIG)
    for seed in range(8):
        write_photo(tmp_path / f"photos/{('Astra', 'Corsa')[seed % 2]}/{seed}.png", seed)
    return tmp_path


@pytest.fixture
def fit(folder: Path, root: Path) -> Verb:
    """Runs `carsfg fit` with the small config in the working folder."""
    assert Path.cwd() == folder
    return lambda *words: main(["fit", "--config", "small", f"--data.root={root}", *words])


@pytest.fixture
def gallery(folder: Path, network: Path) -> Path:
    """The gallery `cars` of the photos."""
    assert main(["index", str(network), "photos", "--output=cars", "--device=cpu"]) == 0
    return folder / "cars"


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)).save(path)

"""A gallery to search in, and experiments small enough to be run in a test."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.cli import main
from carsfg.data.class_names import parse
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.plots import log_figure
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, TINY_RESNET

ANSWERS = {"photo", "matches", "vote", "classes", "known", "is_known", "seconds", "box", "mirror"}


Search = Callable[..., list[dict[str, Any]]]


def checkpoint(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_network(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), path, RunRecord())
    return path


@pytest.fixture(scope="module")
def cars(drawn_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops of each class, in folders of their classes, losslessly."""
    (folder,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0/stanford_cars")
    train, target, seen = StanfordCars(folder, "train"), tmp_path_factory.mktemp("cars") / "cars", set()
    for place in range(len(train)):
        name = NAMES[train.labels[place]].replace("/", "-")
        (target / name).mkdir(parents=True, exist_ok=True)
        if train.read(place) not in seen and len(list((target / name).iterdir())) < 6:  # no twins
            train.load(place).save(target / name / f"{place:02}.png")
            seen.add(train.read(place))
    return target


@pytest.fixture(scope="module")
def gallery(cars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    made = checkpoint(folder / "cnn.ckpt")
    table, rows = folder / "cars.csv", ["path,label,make,body,year"]
    for path in sorted(cars.rglob("*.png")):
        name = parse(path.parent.name)
        rows.append(f"{path.relative_to(cars)},{path.parent.name},{name.make},{name.body},{name.year}")
    table.write_text("\n".join(rows))
    words = [str(made), str(table), f"--output={folder / 'cars'}", "--device=cpu", "--precision=32-true"]
    assert main(["index", *words, f"--data.images={cars}"]) == 0
    return folder / "cars"


@pytest.fixture
def search(gallery: Path, capsys: pytest.CaptureFixture[str]) -> Search:
    """Searches with photos; gives the lines that it wrote, as JSON, and checks the exit code."""

    def run(*words: str | Path, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["search", str(gallery), *map(str, words), "--json", "--device=cpu"]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def car(cars: Path) -> Path:
    """One of the gallery's images."""
    return sorted(cars.rglob("*.png"))[7]


SPEC = DrawnCars(classes=3, train=8, test=4)


TINY = f"""
model:
  class_path: carsfg.CarClassifier
  init_args: {{backbone: {TINY_RESNET}, weights: null, dropout: 0.5, image_size: 32}}
data:
  class_path: carsfg.StanfordCarsDataModule
  init_args: {{val: holdout, augment: crop_flip_rotate, batch_size: 8}}
trainer:
  {{max_epochs: 2, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu, precision: 32-true}}
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cars")
    draw_cars(root, SPEC, progress=False)
    return root


@pytest.fixture
def fit_with_figures(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Fit":
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return Fit(root)


@pytest.fixture
def fit(fit_with_figures: "Fit", monkeypatch: pytest.MonkeyPatch) -> "Fit":
    """Without the figures in TensorBoard, which take half the time of such short runs."""
    monkeypatch.setattr(log_figure, "SENDERS", {})
    return fit_with_figures


@pytest.fixture(scope="session")
def trained_logs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of one epoch with the tiny config, `tiny/version_0`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        patch.setattr(log_figure, "SENDERS", {})
        Path("tiny.yaml").write_text(TINY)
        assert Fit(root)("--trainer.max_epochs=1") == 0
        return Path("lightning_logs").absolute()


@pytest.fixture
def trained(trained_logs: Path, tmp_path: Path) -> str:
    """The checkpoint of that run, from a copy of its logs in the test's own folder."""
    shutil.copytree(trained_logs, tmp_path / "lightning_logs")
    (checkpoint,) = tmp_path.glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt")
    return str(checkpoint.relative_to(tmp_path))


class Fit:
    """Runs a verb with the tiny config in the test's own folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: str, verb: str = "fit") -> int:
        return main([verb, "--config", "tiny", f"--data.root={self.root}", *words])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that carsfg wrote; what Lightning logs before it begins otherwise."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("carsfg: error: ")]
    assert len(lines) == 1
    return lines[0]


def state(path: str) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]  # type: ignore[no-any-return]

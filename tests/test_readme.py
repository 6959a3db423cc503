"""The README's commands, typed as they stand there, on small drawn cars in the place of the data."""

import csv
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.synthetic.dataset import DrawnCars, draw_cars

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(), re.S)
LINES = [line.partition(" #")[0].strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
SMALL = ["--model.image_size=32", "--data.crop=true", "--trainer.max_epochs=1"]
ARTEFACTS = {
    "data check": "sheet.png", "data draw": "drawn/stanford_cars/devkit/cars_meta.mat", "report": "report/index.html",
    "index CHECKPOINT": "cars/network.ckpt", "index timm:vit_base_patch16_siglip_224": "first/network.ckpt",
    "embed": "cars.parquet", "export": "cars.onnx", "fit": "lightning_logs/tl_exp3/version_0/metrics.csv",
}  # fmt: skip


def run(words: list[str], folder: Path, **kwargs: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600, **kwargs)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything lies that the README takes for granted."""
    folder = tmp_path_factory.mktemp("readme")
    draw_cars(folder / "data", DrawnCars(classes=3, train=8, test=3), progress=False)
    for name, file in (("resnet50", "resnet50.pt"), ("mobilenet_v2", "mobilenet_v2_features.pt")):
        torch.save(torchvision.models.get_model(name).state_dict(), folder / file)
    cars = StanfordCars(folder / "data", "train")
    for path, label in zip(cars.paths, cars.labels.tolist(), strict=True):
        (folder / f"photos/car {label}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"photos/car {label}")
    shutil.copytree(folder / "data/stanford_cars/cars_test", folder / "new")
    shutil.copy(folder / "new/00001.jpg", folder / "photo.jpg")
    shutil.copytree(README.parent / "lightning_logs/reference", folder / "lightning_logs/reference")
    return folder


def adapt(line: str, folder: Path) -> list[str]:
    """Name what is here, and make networks small."""
    checkpoints = sorted(
        folder.glob("lightning_logs/*/version_*/checkpoints/epoch=*.ckpt"), key=lambda one: one.stat().st_mtime
    )
    words = shlex.split(line)
    if words[1] in ("fit", "test"):
        given = any("weights" in word for word in words) or words[1] == "test"
        file = "mobilenet_v2_features.pt" if "tl_best.yaml" in words else "resnet50.pt"
        weights = [] if given else [f"--model.weights={file}"]
        words = [*words, *weights, *SMALL]
    if "timm:vit_base_patch16_siglip_224" in words:  # its hub cannot be reached
        words = [word.replace("timm:vit_base_patch16_siglip_224", "torchvision:resnet50") for word in words]
        words.append("--weights=resnet50.pt")
    swaps = {
        "/data/cars": "data",
        "120,80,900,610": "12,8,90,61",
        "CHECKPOINT": str(checkpoints[-1]) if checkpoints else "",
    }
    words = [swaps.get(word, word.replace("/data/cars", "data")) for word in words]
    return [f"--ckpt_path={checkpoints[-1]}" if word.startswith("--ckpt_path") else word for word in words]


def test_it_is_short_and_its_tables_are_narrow() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) < 150
    assert all(line.count("|") <= 7 for line in lines if line.startswith("|"))


def test_its_results_are_those_of_the_tables() -> None:
    """Every percentage of our own in the small table stands in docs/results.md, whose tables `carsfg report` writes."""
    section = README.read_text().partition("## Results")[2].partition("## ")[0]
    results = (README.parent / "docs/results.md").read_text()
    ours = [row.split("|")[3] for row in section.splitlines() if row.startswith("| ") and "`" in row]
    numbers = [number for cell in ours for number in re.findall(r"\d+\.\d\d", cell)]
    assert len(numbers) >= 7
    assert [number for number in numbers if number not in results] == []


@pytest.mark.slow
def test_all_commands_in_turn(folder: Path) -> None:
    tried = []
    for line in LINES:
        if not line.startswith("carsfg ") or line.startswith("carsfg app") or "gpu.yaml" in line:
            continue
        done = run(adapt(line, folder), folder)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        tried.append(line)
        for verb, artefact in ARTEFACTS.items():
            if line.startswith(f"carsfg {verb} "):
                assert (folder / artefact).exists(), line
    assert {line.split()[1] for line in tried} >= {"data", "fit", "test", "report", "index", "search", "export"}


@pytest.mark.slow
def test_many_photos_by_a_pipe(folder: Path) -> None:
    (line,) = [line for line in LINES if "carsfg search cars -" in line]
    finder, _, ours = line.partition(" | ")
    found = subprocess.run(shlex.split(finder), cwd=folder, capture_output=True, text=True, check=True).stdout
    done = run(shlex.split(ours), folder, input=found)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 9)


@pytest.fixture
def app(folder: Path) -> Iterator[int]:
    """Runs the app on a port of its own."""
    (line,) = [line for line in LINES if line.startswith("carsfg app")]
    words = [sys.executable, "-m", *shlex.split(line), "--port", "7899"]
    with subprocess.Popen(words, cwd=folder) as process:
        yield 7899
        process.terminate()


@pytest.mark.slow
def test_the_app_answers(app: int) -> None:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{app}/") as page:
                assert "carsfg" in page.read().decode()
                return
        except OSError:
            time.sleep(1)
    pytest.fail("the page did not come up in two minutes")


@pytest.mark.slow
def test_the_first_command(tmp_path: Path) -> None:
    (line,) = [line for line in LINES if line == "carsfg fit --config tl_exp3.yaml --config demo.yaml"]
    done = run([*shlex.split(line), "--trainer.max_epochs=1"], tmp_path)  # ten take minutes
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "lightning_logs/tl_exp3/version_0"
    assert list(folder.glob("checkpoints/*.ckpt"))
    assert list(folder.glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_drawn_cars_are_learned(tmp_path: Path) -> None:
    network = "{widths: [32, 64, 128, 256], residual: true, stem: 2, pooling: max, image_size: 64}"
    words = ["carsfg", "fit", "--config", "ir_exp2.yaml", "--config", "demo.yaml", "--data.drawn.train=40"]
    words += ["--model.backbone=custom_cnn", f"--model.backbone_args={network}", "--trainer.max_epochs=14"]
    words += ["--model.lr=0.003", "--model.scheduler=OneCycleLR", "--model.scheduler_args=null"]
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "lightning_logs/ir_exp2/version_0/metrics.csv").open() as file:
        (top1,) = [float(row["test/top1"]) for row in csv.DictReader(file) if row["test/top1"]]
    assert top1 >= 4 / 12  # four times chance

"""The example of docs/extending.md, from a folder of its own, through every verb."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from tests.conftest import MakeTask, MakeTrainer

PAGE = Path(__file__).parents[1] / "docs/extending.md"
RECORD = "lightning_logs/mine/version_0"


def blocks(kind: str) -> str:
    """The code of a kind on the page."""
    return "\n".join(re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL))


def carsfg(folder: Path, *words: str) -> str:
    """Run a command in a folder; gives what it printed, on both streams."""
    command = [sys.executable, "-m", "carsfg", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{words}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_the_data_module_of_the_page_gives_batches_to_train_on(
    tmp_path: Path, make_task: MakeTask, make_trainer: MakeTrainer
) -> None:
    for part in ("train", "test"):
        for place, name in enumerate(("a", "b")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 30), (90 * place, 80 * number, 9)).save(tmp_path / part / name / f"{number}.png")
    module = ModuleType("mine")
    exec(blocks("python"), vars(module))  # noqa: S102 - our own page
    data = module.MyPhotos(str(tmp_path), size=32, batch_size=4)
    trainer = make_trainer(callbacks=[FaissRetrieval(k=[1], knn=[1])])
    task = make_task(backbone="squeezenet1_1", class_names=data.class_names)
    trainer.fit(task, datamodule=data)
    assert trainer.global_step == 1
    trainer.test(task, datamodule=data, verbose=False)
    assert 0 <= float(trainer.callback_metrics["test/retrieval/top_1"]) <= 1


@pytest.mark.slow
def test_a_user_s_own_classes_go_through_every_verb(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(blocks("python"))
    (tmp_path / "mine.yaml").write_text(blocks("yaml"))
    draw_cars(tmp_path / "data", DrawnCars(classes=3, train=8, test=4), progress=False)
    out = carsfg(tmp_path, "fit", "--config", "mine.yaml", "--trainer.enable_progress_bar=false")
    (checkpoint,) = (str(path) for path in tmp_path.glob(f"{RECORD}/checkpoints/*.ckpt"))
    assert "mine: test" in out
    record = RunRecord.read(tmp_path / RECORD)
    assert (record.experiment, record.network) == ("mine", "resnet18")
    assert (record.task["class_path"], record.task["gamma"]) == ("mine.FocalClassifier", 1.5)
    assert (record.data["class_path"], record.data["margin"]) == ("mine.MyCars", 0.1)
    assert record.data["augment"] == {"crop": [0.6, 1.0], "flip": True}
    header = (tmp_path / RECORD / "metrics.csv").read_text().splitlines()[0]
    assert {"train/gradient_norm", "train/cross_entropy"} <= set(header.split(","))
    assert list((tmp_path / "tensorboard").rglob("events*"))

    assert "margin 0.1" in carsfg(tmp_path, "evaluate", checkpoint, "--json=e.json")
    assert json.loads((tmp_path / "e.json").read_text())["rows"]
    carsfg(tmp_path, "index", checkpoint, "data/stanford_cars/cars_test", "--output=cars")
    photo = "data/stanford_cars/cars_test/00001.jpg"
    assert '"matches": [{' in carsfg(tmp_path, "search", "cars", photo, "--json=true")
    carsfg(tmp_path, "predict", "--config", "mine.yaml", f"--ckpt_path={checkpoint}")
    carsfg(tmp_path, "report", "--output=page")
    assert "| mine/version_0 | resnet18 |" in (tmp_path / "page/report.md").read_text()
    pytest.importorskip("onnx")
    carsfg(tmp_path, "export", checkpoint, "--output=mine.onnx")
    assert (tmp_path / "mine.onnx").is_file()

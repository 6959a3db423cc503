"""The page docs/own_photos.md: its command, and its conversions to tables."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.cli import main
from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.data.sources.stanford_cars import read_stanford_cars
from carsfg.data.sources.table import read_table
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.data.test_photo_datamodule import noise

PAGE = (Path(__file__).parents[1] / "docs/own_photos.md").read_text()
COCO, YOLO = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = ["--model.backbone=resnet18", "--model.weights=null", "--model.image_size=32", "--trainer.max_epochs=1"]
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]


def run(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)


def test_coco_becomes_a_table(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(noise(1))
    coco = {
        "images": [{"id": 7, "file_name": "1.jpg"}],
        "categories": [{"id": 3, "name": "Golf"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10.5, 20]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    run(COCO, tmp_path)
    source = read_table(tmp_path / "coco.csv")
    assert source.boxes is not None
    assert (source.class_names, source.boxes.tolist()) == (["Golf"], [[1, 2, 12, 22]])


def test_yolo_becomes_a_table(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "images/1.jpg")
    (tmp_path / "images/1.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (tmp_path / "classes.txt").write_text("Astra\nGolf\n")
    run(YOLO, tmp_path)
    source = read_table(tmp_path / "yolo.csv")
    assert source.boxes is not None
    assert (source.class_names, source.boxes.tolist()) == (["Golf"], [[30, 10, 50, 30]])


def test_class_folders_and_annotations_give_the_same_data(tmp_path: Path) -> None:
    draw_cars(tmp_path / "drawn", DrawnCars(classes=4, train=10, test=5))
    cars = StanfordCarsDataModule(root=str(tmp_path / "drawn"), image_size=32, crop=False)
    for part in ("train", "test"):
        for car in (source := read_stanford_cars(tmp_path / "drawn", part)).paths:
            name = source.class_names[int(source.labels[source.paths.index(car)])].replace("/", "-")
            link = tmp_path / "folders" / part / name / car.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(car)
    data = PhotoDataModule(root=str(tmp_path / "folders"), image_size=32, allow_leaks=True)
    data.use_class_names(cars.class_names)
    for one in (cars, data):
        one.prepare_data()
        one.setup("fit")
    assert data.split_hash == cars.split_hash
    assert data.labels.tolist() == cars.labels.tolist()
    np.testing.assert_array_equal(data.crops(np.arange(60)), cars.crops(np.arange(60)))
    for part in ("train", "val", "test"):
        assert getattr(data.splits, part).tolist() == getattr(cars.splits, part).tolist()


def test_unreadable_photos_are_named_at_once_and_may_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place in range(12):
        folder = tmp_path / "photos" / ("Golf", "Astra")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.png").write_bytes(noise(place))
    (tmp_path / "photos/Golf/x.jpg").write_bytes(b"no image")
    (tmp_path / "photos/Golf/y.png").write_bytes(noise(0)[:100])
    words = r"2 of 14 images are unreadable: .*x\.jpg is not an image.*; also Golf/y\.png: .*skip_unreadable=true"
    with pytest.raises(InputError, match=words):
        PhotoDataModule(root=str(tmp_path / "photos"), image_size=32).prepare_data()
    for _ in range(2):  # the second time from the file
        caplog.clear()
        data = PhotoDataModule(root=str(tmp_path / "photos"), image_size=32, skip_unreadable=True)
        data.prepare_data()
        data.setup("fit")
        assert len(data.labels) == 12
        assert "left out: 2 unreadable (Golf/x.jpg, Golf/y.png)" in caplog.text
    (stored,) = (tmp_path / "photos/.carsfg-cache").glob("unreadable-*.json")
    stored.write_text(json.dumps([0, *json.loads(stored.read_text())]))  # an error of a disk that has passed
    assert len(PhotoDataModule(root=str(tmp_path / "photos"), skip_unreadable=True).open_images()[0]) == 12
    (tmp_path / "photos/Golf/x.jpg").write_bytes(noise(99))  # repaired
    data = PhotoDataModule(root=str(tmp_path / "photos"), image_size=32, skip_unreadable=True)
    assert len(data.open_images()[0]) == 13


def test_the_first_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for place in range(40):
        folder = tmp_path / "photos" / ("Golf", "Astra é")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.png").write_bytes(noise(place))
    (line,) = [line for line in PAGE.splitlines() if line.startswith("carsfg fit")]
    assert main([*shlex.split(line)[1:], *SMALL, *QUIET]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "test, protocol official on photos" in out
    assert re.search(r"top-1 \d+\.\d\d % \(\d of 8 images; 95 % interval", out)
    assert "weakest classes: " in out
    with Path("lightning_logs/new_experiment/version_0/predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows].count("Golf") == 4
    assert {row["path"].split("/")[0] for row in rows} == {"Golf", "Astra é"}
    (checkpoint,) = Path("lightning_logs").rglob("epoch=*.ckpt")
    assert main(["evaluate", str(checkpoint)]) == 2
    assert "name their folder or table with --data.root" in capfd.readouterr().err
    assert main(["evaluate", str(checkpoint), "--data=PhotoDataModule", "--data.root=photos"]) == 0
    assert "scored on photos" in " ".join(capfd.readouterr().out.split())


def test_the_commands_of_a_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = ["path,label,colour"]
    for place in range(6):
        (tmp_path / "photos" / f"{place}.png").write_bytes(noise(place))
        rows.append(f"{place}.png,Golf,{('red', 'blue')[place % 2]}")
    Path("photos/cars.csv").write_text("\n".join(rows))
    Path("photo.jpg").write_bytes(noise(1))
    torch.manual_seed(0)
    save_network(CarCNN(class_names=["Astra", "Golf"], widths=[4, 8], image_size=32), Path("cnn.ckpt"), RunRecord())
    section = PAGE.partition("## A gallery of your photos")[2].partition("\n## ")[0]
    index, *searches = [shlex.split(line, comments=True)[1:] for line in section.splitlines() if "carsfg " in line][:3]
    for source, first in (("photos", "1.png"), ("photos/cars.csv", "1.png")):
        words = [{"CHECKPOINT": "cnn.ckpt", "photos": source}.get(word, word) for word in index]
        assert main([*words, "--overwrite", "--device=cpu"]) == 0
        capfd.readouterr()
        assert main([*searches[0], "--json", "--device=cpu"]) == 0
        assert json.loads(capfd.readouterr().out)["matches"][0]["path"] == first
    assert main([*searches[1], "--json", "--device=cpu"]) == 0
    matches = json.loads(capfd.readouterr().out)["matches"]
    assert sorted(match["path"] for match in matches) == ["0.png", "2.png", "4.png"]
    assert matches[0]["attributes"] == {"colour": "red"}

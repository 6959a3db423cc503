"""`carsfg index` reads what training reads: tables with boxes, splits, levels of folders, Kaggle's mirror."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.cli import main
from carsfg.run_record import RunRecord
from carsfg.search.gallery import Gallery
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES

Index = Callable[..., Gallery]


@pytest.fixture
def network(tmp_path: Path) -> str:
    """A checkpoint of a small CNN with random weights, which learned from box crops."""
    torch.manual_seed(0)
    task = CarCNN(class_names=NAMES, widths=[4, 8], image_size=32)
    save_network(task, tmp_path / "cnn.ckpt", RunRecord(data={"crop": True}, trainer={"precision": "32-true"}))
    return str(tmp_path / "cnn.ckpt")


@pytest.fixture
def garage(tmp_path: Path) -> Path:
    """Six images of noise, 50 x 40 pixels, of two classes: even and odd ones."""
    folder = tmp_path / "garage"
    for place, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (6, 40, 50, 3), np.uint8)):
        (folder / f"car {place % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"car {place % 2}" / f"{place}.png")
    return folder


@pytest.fixture
def index(network: str, tmp_path: Path) -> Index:
    """Indexes a folder or table on the CPU; gives the gallery."""

    def run(source: Path, *words: str, name: str = "gallery") -> Gallery:
        output = tmp_path / name
        assert main(["index", network, str(source), f"--output={output}", "--device=cpu", "--overwrite", *words]) == 0
        return Gallery.load(output)

    return run


def embeddings(gallery: Gallery) -> torch.Tensor:
    return torch.stack([gallery.vector(place) for place in range(len(gallery))])  # type: ignore[misc]


def sizes(gallery: Gallery) -> list[tuple[int, int]]:
    assert gallery.thumbnails is not None
    return [gallery.thumbnails[place].size for place in range(len(gallery))]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_table_with_its_own_boxes(
    suffix: str, index: Index, garage: Path, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {"file": "car 0/0.png", "model": "x", "split": "train", "x0": 0, "y0": 0, "x1": 20, "y1": 10},
        {"file": "car 1/1.png", "model": "y", "split": "test", "x0": 5, "y0": 5, "x1": 25, "y1": 35},
        {"file": "car 1/3.png", "model": "y", "split": "test", "x0": "", "y0": "", "x1": "", "y1": ""},
    ]
    table = tmp_path / f"cars.{suffix}"
    lines = [json.dumps(row) for row in rows]
    if suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    table.write_text("\n".join(lines))
    words = (f"--data.images={garage}", "--data.columns={path: file, label: model}")
    gallery = index(table, *words)
    assert (list(gallery.paths), gallery.class_names) == (["car 0/0.png", "car 1/1.png", "car 1/3.png"], ["x", "y"])
    assert sizes(gallery) == [(20, 10), (20, 30), (50, 40)]
    assert gallery.record.data["box"] == "annotated"
    assert list(index(table, "--split=test", *words).paths) == ["car 1/1.png", "car 1/3.png"]
    assert sizes(index(table, "--data.margin=0.5", *words))[0] == (30, 15)
    assert sizes(index(table, "--data.crop=false", *words)) == [(50, 40)] * 3
    capsys.readouterr()
    mistakes = {
        ("--boxes=boxes.csv",): "have boxes of their own; add --data.crop=false, or leave it out",
        ("--data.columns={lable: model}",): "data.columns has no key ",
        ("--split=val",): "has no split 'val', but test and train",
    }
    for more, said in mistakes.items():
        (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\ncar 0/0.png,0,0,5,5\n")
        given = [one.replace("=boxes.csv", f"={tmp_path / 'boxes.csv'}") for one in more]
        assert main(["index", network, str(table), "--output=g", *words, *given]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert said in line


def test_attributes_of_each_image(index: Index, garage: Path) -> None:
    (garage / "car 0/2.png").write_text("no image")
    rows = [f"car 0/{name}.png,a,{colour}" for name, colour in ((0, "red"), (2, "green"), (4, "blue"))]
    (garage / "cars.csv").write_text("\n".join(["path,label,colour", *rows]))
    gallery = index(garage / "cars.csv", "--box=none")
    assert [gallery.attributes.at(place) for place in (0, 1)] == [{"colour": "red"}, {"colour": "blue"}]
    assert dict(index(garage, "--box=none").attributes.values) == {}


def test_a_network_of_whole_photos_takes_them_whole(garage: Path, tmp_path: Path) -> None:
    record = RunRecord(data={"crop": False, "learned_from": "whole photos", "image_size": 32})
    save_network(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), tmp_path / "whole.ckpt", record)
    (garage / "cars.csv").write_text("path,label,x0,y0,x1,y1\ncar 0/0.png,a,0,0,20,10\n")
    words = ["index", str(tmp_path / "whole.ckpt"), str(garage / "cars.csv"), "--device=cpu"]
    assert main([*words, f"--output={tmp_path}/whole"]) == 0
    assert sizes(Gallery.load(tmp_path / "whole")) == [(50, 40)]
    assert main([*words, f"--output={tmp_path}/cut", "--data.crop=true"]) == 0
    assert sizes(Gallery.load(tmp_path / "cut")) == [(20, 10)]


def test_split_folders_and_levels(index: Index, garage: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for part, name in (("train", "0"), ("test", "4")):
        (root / part / "fast/red").mkdir(parents=True)
        shutil.copy(garage / f"car 0/{name}.png", root / part / "fast/red")
    gallery = index(root)
    assert (list(gallery.paths), gallery.class_names) == (["train/fast/red/0.png", "test/fast/red/4.png"], ["fast"])
    gallery = index(root, "--split=test", "--data.class_level=2")
    assert (list(gallery.paths), gallery.class_names) == (["test/fast/red/4.png"], ["red"])


def test_the_level_of_folders_is_that_of_the_run(garage: Path, tmp_path: Path) -> None:
    (tmp_path / "in/fast/red").mkdir(parents=True)
    shutil.copy(garage / "car 0/0.png", tmp_path / "in/fast/red")
    record = RunRecord(data={"class_level": 2, "image_size": 32})
    save_network(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), tmp_path / "cnn.ckpt", record)
    words = ["index", str(tmp_path / "cnn.ckpt"), str(tmp_path / "in"), "--device=cpu", "--overwrite"]
    for given, name in (([], "red"), (["--data.class_level=1"], "fast")):
        assert main([*words, f"--output={tmp_path}/cars", *given]) == 0
        assert Gallery.load(tmp_path / "cars").class_names == [name]


def test_kaggles_mirror(index: Index, garage: Path, tmp_path: Path) -> None:
    root = tmp_path / "kaggle"
    for part, name in (("train", "0"), ("test", "4")):
        (root / "car_data" / part / "AM General Hummer SUV 2000").mkdir(parents=True)
        shutil.copy(garage / f"car 0/{name}.png", root / "car_data" / part / "AM General Hummer SUV 2000")
        (root / f"anno_{part}.csv").write_text(f"{name}.png,1,1,20,10,1\n")
    (root / "names.csv").write_text("AM General Hummer SUV 2000\n")
    gallery = index(root, "--split=test")
    assert list(gallery.paths) == ["car_data/test/AM General Hummer SUV 2000/4.png"]
    assert sizes(gallery) == [(20, 10)]


def test_a_table_calibrates(index: Index, garage: Path, tmp_path: Path) -> None:
    rows = [f"car 0/{name}.png,a,0,0,20,10" for name in (0, 2, 4)]
    (garage / "cars.csv").write_text("\n".join(["path,label,x0,y0,x1,y1", *rows]))
    shutil.copytree(garage / "car 1", tmp_path / "other")
    gallery = index(tmp_path / "other", f"--calibrate={garage / 'cars.csv'}")
    expected = embeddings(index(garage / "cars.csv", name="expected"))
    scores = (expected @ embeddings(gallery).T).amax(1).sort().values
    torch.testing.assert_close(torch.tensor(gallery.calibration), scores)


def test_paths_that_lead_up_from_a_table(index: Index, garage: Path) -> None:
    """A gallery never has `..` in a path; an image outside the table's folder has its whole path."""
    (garage / "tables").mkdir()
    table = garage / "tables/cars.csv"
    table.write_text("path,label\n../car 0/0.png,a\nin/../../car 0/2.png,a\n")
    (garage / "tables/in").mkdir()
    assert list(index(table, "--box=none").paths) == [f"{garage}/car 0/0.png", f"{garage}/car 0/2.png"]
    table.write_text("path,label\nx/../car 0/0.png,a\n")
    (garage / "x").mkdir()
    assert list(index(table, "--box=none", f"--data.images={garage}").paths) == ["car 0/0.png"]

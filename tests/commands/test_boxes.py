"""Boxes in `carsfg index` and `carsfg search`: found, from a table, by a detector, or none; queries as the gallery."""

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import WeightsEnum

from carsfg.cli import main
from carsfg.run_record import RunRecord
from carsfg.search.gallery import Gallery
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES

Capture = pytest.CaptureFixture[str]


def checkpoint(path: Path, **data: Any) -> str:
    torch.manual_seed(0)
    save_network(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), path, RunRecord(data=data))
    return str(path)


@pytest.fixture
def crops_network(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "crops.ckpt", crop=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Smooth noise of 80 x 60 pixels, of two classes."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for place in range(4):
        (folder / f"car {place // 2}").mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        pixels.resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"car {place // 2}/{place}.png")
    return folder


def index(network: str, photos: Path, *words: str) -> Gallery:
    output = photos.parent / "gallery"
    assert main(["index", network, str(photos), f"--output={output}", "--overwrite", "--device=cpu", *words]) == 0
    return Gallery.load(output)


def search(photos: Path, capsys: Capture, *words: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the answers for all photos, in their order, and the lines on stderr."""
    capsys.readouterr()
    assert main(["search", str(photos.parent / "gallery"), str(photos), "--json", "--device=cpu", *words]) == 0
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err.splitlines()


def sizes(gallery: Gallery) -> list[tuple[int, int]]:
    assert gallery.thumbnails is not None
    return [gallery.thumbnails[place].size for place in range(len(gallery))]


def test_found_boxes_are_the_default_for_a_network_of_crops(crops_network: str, photos: Path, capsys: Capture) -> None:
    gallery = index(crops_network, photos)
    assert gallery.record.data["box"] == "auto"
    assert "box: auto (the network learned from box crops)\n" in capsys.readouterr().err
    found, (line,) = search(photos, capsys)
    assert line == "box: auto (as the gallery's images)"
    for one, size in zip(found, sizes(gallery), strict=True):
        x0, y0, x1, y1 = one["box"]
        assert (x1 - x0, y1 - y0) == size != (80, 60)
        assert one["matches"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    whole, (line,) = search(photos, capsys, "--box=none")
    assert [one["box"] for one in whole] == [None] * 4
    assert line.startswith("box: none (as asked); the photos are whole photos, but this network learned from box crops")


def test_whole_photos_where_the_user_says_so(crops_network: str, photos: Path, capsys: Capture) -> None:
    gallery = index(crops_network, photos, "--box=none")
    assert (gallery.record.data["box"], sizes(gallery)) == ("none", [(80, 60)] * 4)
    assert "box: none (as asked); the images are whole photos, but this network" in capsys.readouterr().err
    found, (line,) = search(photos, capsys)
    assert [one["box"] for one in found] == [None] * 4
    assert line.startswith("box: none (as the gallery's images)")


@pytest.mark.parametrize("data", [{}, {"learned_from": "whole photos"}])
def test_nothing_is_cut_for_other_networks(data: dict[str, Any], photos: Path, tmp_path: Path) -> None:
    gallery = index(checkpoint(tmp_path / "other.ckpt", **data), photos)
    assert (gallery.record.data["box"], sizes(gallery)) == ("none", [(80, 60)] * 4)


def test_squares_of_one_size_are_crops(crops_network: str, photos: Path, capsys: Capture) -> None:
    for path in photos.rglob("*.png"):
        Image.open(path).resize((48, 48)).save(path)
    assert sizes(index(crops_network, photos)) == [(48, 48)] * 4
    assert "box: none (the images are squares of one size: taken as box crops)\n" in capsys.readouterr().err


def test_boxes_of_a_table(crops_network: str, photos: Path, capsys: Capture) -> None:
    table = photos.parent / "boxes.csv"
    rows = [f"{path.relative_to(photos)},10,5,{40 + place},{30 + place}"
            for place, path in enumerate(sorted(photos.rglob("*.png")))]  # fmt: skip
    table.write_text("\n".join(["path,x0,y0,x1,y1", *rows]))
    gallery = index(crops_network, photos, f"--boxes={table}", "--box=none")
    assert sizes(gallery) == [(30 + place, 25 + place) for place in range(4)]
    assert gallery.record.data["box"] == "table"
    own = table.with_name("own.csv")
    own.write_text("\n".join(["path,x0,y0,x1,y1", *(f"{photos}/{row}" for row in rows)]))
    found, _ = search(photos, capsys, f"--boxes={own}")
    assert [one["box"] for one in found] == [[10, 5, 40 + place, 30 + place] for place in range(4)]
    assert all(one["matches"][0]["similarity"] == pytest.approx(1, abs=1e-5) for one in found)


def test_photos_that_a_table_leaves_out(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\ncar 0/0.png,10,5,40,30\ncar 0/1.png,10,5,99,30\n")
    gallery = index(checkpoint(tmp_path / "any.ckpt"), photos, f"--boxes={tmp_path}/boxes.csv")
    assert sizes(gallery) == [(30, 25), (80, 60), (80, 60)]
    err = capsys.readouterr().err
    assert "1 images were cut to a box, 2 were used whole\n" in err
    assert (
        f"left out: the box 10,5,99,30 leaves {photos / 'car 0/1.png'} ({tmp_path / 'boxes.csv'}, row 3) of 80" in err
    )


def test_mistakes_are_one_line(
    crops_network: str, photos: Path, tmp_path: Path, drawn_root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    index(crops_network, photos)
    (tmp_path / "other.csv").write_text("path,x0,y0,x1,y1\nelsewhere.png,10,5,40,30\n")
    (drawn,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0/stanford_cars")
    into = f"--output={tmp_path / 'new'}"
    photo = next(photos.rglob("*.png"))
    commands = {
        "--box 'car' must be one of auto, none, detector": ["index", crops_network, photos, into, "--box=car"],
        "cannot fetch the detector's weights": ["index", crops_network, photos, into, "--box=detector"],
        "detector's weights from https": ["search", tmp_path / "gallery", photo, "--box=detector"],
        "no table of boxes": ["search", tmp_path / "gallery", photo, "--boxes=nowhere.csv"],
        "both give the box": ["search", tmp_path / "gallery", photo, "--box=1,2,3,4", f"--boxes={tmp_path}/other.csv"],
        "are box crops already": ["index", crops_network, drawn, into, "--box=auto"],
        "has no box for any of the 4 images": [
            "index", checkpoint(tmp_path / "any.ckpt"), photos, into, f"--boxes={tmp_path}/other.csv"],
    }  # fmt: skip
    for said, words in commands.items():
        capsys.readouterr()
        assert main([*map(str, words), "--device=cpu"]) == 2
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("carsfg: error: ")]
        assert (out, len(lines), said in lines[0]) == ("", 1, True), err
    assert not (tmp_path / "new").exists()

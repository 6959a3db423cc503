"""`carsfg predict` on photos without labels, by a network that sees the mean colour: all numbers are known."""

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from carsfg.cli import main
from carsfg.run_record import RETRIEVAL, RunRecord
from carsfg.search.predictions import PREDICTIONS_FILE
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.commands.conftest import one_line
from tests.conftest import NAMES

Capture = pytest.CaptureFixture[str]
RED, GREEN, BLUE, ORANGE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (204, 153, 0)
CLASSES = ["red", "green/lime", "blue"]
RECORD = RunRecord(
    data={"image_size": 8}, callbacks={RETRIEVAL: {"knn": [1, 3], "metric": "cosine"}}, trainer={"precision": "32-true"}
)


class MeanColour(nn.Module):
    """Images (B, 3, S, S) to their mean colour (B, 3)."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class Colours(CarsTask):
    """A photo of one colour is 8 times as probable in its class as before; before: 1 to 2 to 4."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.assemble(MeanColour(), 3, 0.0)
        with torch.no_grad():
            self.head.weight.copy_(math.log(8) * torch.eye(3))
            self.head.bias.copy_(torch.tensor([1.0, 2.0, 4.0]).log())


class Headless(Colours):
    """Only embeds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head = None  # type: ignore[assignment]


def network(path: Path, kind: type[Colours] = Colours, mean: Sequence[float] = (0, 0, 0), **data: Any) -> str:
    task = kind(class_names=CLASSES, image_size=8, mean=list(mean), std=[1.0, 1.0, 1.0])
    save_network(task, path, RunRecord(data=RECORD.data | data, callbacks=RECORD.callbacks, trainer=RECORD.trainer))
    return str(path)


def photo(path: Path, *colours: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> Path:
    """A photo of vertical stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([colours], np.uint8)).resize(size, Image.Resampling.NEAREST).save(path)
    return path


Predict = Callable[..., tuple[list[dict[str, str]], str, str]]


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Predict:
    """Predicts in the test's own folder; gives the rows of predictions.csv, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[list[dict[str, str]], str, str]:
        capsys.readouterr()
        assert main(["predict", *words, "--device=cpu"]) == 0
        with Path(PREDICTIONS_FILE).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file)), *capsys.readouterr()

    return run


@pytest.fixture
def colours(tmp_path: Path) -> str:
    return network(tmp_path / "colours.ckpt")


@pytest.fixture
def gallery(colours: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One image of Alfa, two of Beta."""
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "cars/Alfa/1.png", RED)
    photo(tmp_path / "cars/Beta/2.png", GREEN)
    photo(tmp_path / "cars/Beta/3.png", (51, 204, 0))
    assert main(["index", colours, "cars", "--output=gallery", "--device=cpu"]) == 0
    return "gallery"


def test_a_folder(predict: Predict, colours: str, tmp_path: Path) -> None:
    for name, colour in (("b/deep/1.png", RED), ("a ü.PNG", GREEN), ("b/2.png", BLUE), ("c.png", RED)):
        photo(tmp_path / "photos" / name, colour)
    (tmp_path / "photos/b/bad.jpg").write_text("no image")
    (tmp_path / "photos/b/notes.txt").write_text("no image")
    rows, out, err = predict(colours, "photos", "--batch_size=2")
    names = ["path", "top1", "probability1", "top2", "probability2", "top3", "probability3"]
    red = ["red", "0.5714", "blue", "0.2857", "green/lime", "0.1429"]
    assert [list(row) for row in rows] == [names] * 4
    assert [list(row.values()) for row in rows] == [
        ["a ü.PNG", "green/lime", "0.7619", "blue", "0.1905", "red", "0.0476"],
        ["b/2.png", "blue", "0.9143", "green/lime", "0.0571", "red", "0.0286"],
        ["b/deep/1.png", *red],
        ["c.png", *red],
    ]
    assert [line.split() for line in out.splitlines()] == [
        ["most", "frequent", "of", "3", "predicted", "classes:"],
        ["2", "50", "%", "red"],
        ["1", "25", "%", "blue"],
        ["1", "25", "%", "green/lime"],
        ["predictions.csv:", "4", "images,", "1", "could", "not", "be", "read"],
    ]
    assert err.splitlines()[:2] == ["photos: left out: 1 .txt", "from the run: 8 px, 32-true"]
    assert err.splitlines()[2:] == [line for line in err.splitlines() if line.startswith("left out: photos/b/bad.jpg")]


def test_photos_and_folders_have_the_paths_that_were_given(predict: Predict, colours: str, tmp_path: Path) -> None:
    photo(tmp_path / "photos/1.png", RED)
    photo(tmp_path / "2.png", BLUE)
    (tmp_path / "empty").mkdir()
    rows, out, err = predict(colours, "2.png", "photos", "nowhere.png", "empty")
    assert [(row["path"], row["top1"]) for row in rows] == [("2.png", "blue"), ("photos/1.png", "red")]
    assert out.endswith("predictions.csv: 2 images, 2 could not be read\n")
    assert "left out: no image in empty\nleft out: cannot read nowhere.png: No such file or directory\n" in err
    rows, _, _ = predict("--overwrite", colours, str(tmp_path / "2.png"))
    assert [row["path"] for row in rows] == [str(tmp_path / "2.png")]


def test_the_same_photos_in_other_batches(predict: Predict, colours: str, tmp_path: Path) -> None:
    for place in range(5):
        photo(tmp_path / f"photos/{place}.png", (50 * place, 0, 100))
    one, _, _ = predict(colours, "photos")
    other, _, _ = predict(colours, "photos", "--batch_size=1", "--overwrite")
    assert one == other


def test_a_gallery(predict: Predict, colours: str, gallery: str, tmp_path: Path) -> None:
    """Cosines with orange (.8, .6): .8 of 1.png, .6 of 2.png, .64 / sqrt(.68) of 3.png, which vote two to one.

    Nearest other images within the gallery: .2 / sqrt(.68) of Alfa, twice .8 / sqrt(.68) of Beta: one of three is
    below .8, so that p is 2 / 4. None is below the cosine 0 of blue: p is 1 / 4.
    """
    photo(tmp_path / "photos/1.png", ORANGE)
    photo(tmp_path / "photos/2.png", BLUE)
    rows, out, err = predict(colours, "photos", f"--gallery={gallery}")
    assert list(rows[0])[-5:] == ["vote", "nearest", "nearest_label", "nearest_score", "known_p"]
    assert list(rows[0].values())[-5:] == ["Beta", "Alfa/1.png", "Alfa", "0.8", "0.5"]
    assert [rows[1]["nearest_score"], rows[1]["known_p"]] == ["0.0", "0.25"]
    assert "0 images are unlike those in the gallery (known_p below 0.05)\n" in out
    assert "gallery of 3 images: vote of the 3 nearest, cosine\n" in err


def test_photos_have_the_size_of_the_images_in_the_gallery(predict: Predict, colours: str, tmp_path: Path) -> None:
    photo(tmp_path / "cars/Alfa/1.png", RED)
    photo(tmp_path / "cars/Beta/2.png", GREEN)
    assert main(["index", colours, "cars", "--output=large", "--data.image_size=48", "--device=cpu"]) == 0
    assert "48 px" in predict(colours, "cars", "--gallery=large")[2]


def test_a_network_without_a_head_votes(predict: Predict, gallery: str, tmp_path: Path, capsys: Capture) -> None:
    bare = network(tmp_path / "bare.ckpt", Headless)
    photo(tmp_path / "photos/1.png", ORANGE)
    assert main(["predict", bare, "photos"]) == 2
    assert one_line(capsys).endswith(
        f"the network in {bare} has no classification head: add --gallery to classify by a vote of the nearest images"
    )
    rows, out, _ = predict(bare, "photos", f"--gallery={gallery}")
    assert list(rows[0]) == ["path", "vote", "nearest", "nearest_label", "nearest_score", "known_p"]
    assert out.split()[:9] == ["most", "frequent", "of", "1", "predicted", "classes:", "1", "100", "%"]


def test_boxes_of_a_table(predict: Predict, colours: str, tmp_path: Path) -> None:
    """The columns are those of a table of photos, so that they can be used again."""
    photo(tmp_path / "photos/1.png", RED, BLUE)
    photo(tmp_path / "photos/2.png", RED, BLUE)
    (tmp_path / "boxes.csv").write_text("path,x,y,width,height\n1.png,1,2,9,5\n")
    rows, _, err = predict(colours, "photos", "--boxes=boxes.csv")
    assert [(row["top1"], row["x0"], row["y0"], row["x1"], row["y1"]) for row in rows] == [
        ("red", "1", "2", "10", "7"),
        ("blue", "", "", "", ""),
    ]
    assert "1 images were cut to a box, 1 were used whole\n" in err


@pytest.fixture
def crops_network(tmp_path: Path) -> str:
    """A CNN that learned from box crops, beside two photos; the second one is shrunk before a car is looked for."""
    torch.manual_seed(0)
    task = CarCNN(class_names=NAMES, widths=[4, 8], image_size=32)
    save_network(task, tmp_path / "crops.ckpt", RunRecord(data={"learned_from": "box crops"}))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    (tmp_path / "photos").mkdir()
    noise.resize((80, 60), Image.Resampling.BICUBIC).save(tmp_path / "photos/1.png")
    noise.resize((1920, 1440), Image.Resampling.BICUBIC).save(tmp_path / "photos/2.bmp")
    return str(tmp_path / "crops.ckpt")


def test_found_boxes_are_those_of_a_search(predict: Predict, crops_network: str, capsys: Capture) -> None:
    rows, _, err = predict(crops_network, "photos")
    assert "box: auto (the network learned from box crops)\n" in err
    assert main(["index", crops_network, "photos", "--output=gallery", "--device=cpu"]) == 0
    capsys.readouterr()
    assert main(["search", "gallery", "photos", "--json", "--device=cpu"]) == 0
    found = [json.loads(line)["box"] for line in capsys.readouterr().out.splitlines()]
    assert [[int(row[name]) for name in ("x0", "y0", "x1", "y1")] for row in rows] == found
    assert found[1][2] > 80  # pixels of the second photo
    assert "x0" not in predict(crops_network, "photos", "--box=none", "--overwrite")[0][0]


def test_a_gallery_that_was_cut_otherwise_is_said(predict: Predict, crops_network: str) -> None:
    for how, said in (("none", "; its images: box none, these photos: box auto"), ("auto", "")):
        words = ["photos", f"--output={how}", f"--box={how}", "--device=cpu"]
        assert main(["index", crops_network, *words]) == 0
        _, _, err = predict(crops_network, "photos", f"--gallery={how}", "--overwrite")
        assert f"gallery of 2 images: vote of the 10 nearest, cosine{said}\n" in err


def test_names_that_are_no_text(predict: Predict, colours: str, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    photo(tmp_path / "photos" / name, RED)
    assert predict(colours, "photos")[0][0]["path"] == name


@pytest.mark.usefixtures("gallery")
def test_mistakes_are_one_line(colours: str, tmp_path: Path, capsys: Capture) -> None:
    photo(tmp_path / "photos/1.png", RED)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.jpg").write_text("no image")
    (tmp_path / "there.csv").write_text("keep")
    other = network(tmp_path / "other.ckpt", mean=(0.5, 0, 0))
    commands = {
        "the following arguments are required: photos": [colours],
        "the file or folder 'nowhere' does not exist": [colours, "nowhere"],
        "none of the 1 images in bad can be decoded: bad/1.jpg is not an image": [colours, "bad"],
        "no checkpoint": ["nowhere.ckpt", "photos"],
        "there.csv exists: add --overwrite": [colours, "photos", "--output=there.csv"],
        "cannot write 'no/folder.csv'": [colours, "photos", "--output=no/folder.csv"],
        "the gallery was made by another network": [other, "photos", "--gallery=gallery"],
        "no gallery in nowhere": [colours, "photos", "--gallery=nowhere"],
        "--batch_size 0 must be 1 or more": [colours, "photos", "--batch_size=0"],
        "--box 'car' must be one of": [colours, "photos", "--box=car"],
        "unknown option '--galery' (did you mean '--gallery'?)": [colours, "photos", "--galery=gallery"],
    }
    for said, words in commands.items():
        capsys.readouterr()
        assert main(["predict", *words]) == 2
        assert said in one_line(capsys)
    assert (tmp_path / "there.csv").read_text() == "keep"
    assert not Path(PREDICTIONS_FILE).exists()


def test_lightnings_form_begins_with_an_option(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    given: list[list[str]] = []

    def run(words: list[str]) -> int:
        given.append(words)
        return 0

    monkeypatch.setattr("carsfg.commands.train.main", run)
    assert main(["predict", "--config", "tiny", "--ckpt_path=x"]) == 0
    assert given == [["predict", "--config", "tiny", "--ckpt_path=x"]]
    assert main(["predict", "--device=cpu", "x.ckpt", "nowhere"]) == 2
    assert "the file or folder 'nowhere' does not exist" in one_line(capsys)
    assert main(["predict", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "`carsfg predict CHECKPOINT PHOTO ...`" in out
    assert "`carsfg predict --config NAME --ckpt_path=CHECKPOINT`" in out
    assert len(given) == 1

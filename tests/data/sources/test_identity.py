"""The name of a data set is found by looking at the data."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from carsfg.data.sources.identity import STANFORD_CARS_DIGEST, annotation_digest, identify
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from tests.data.conftest import Photo, write_cars


def name_of(root: Path) -> str:
    train, test = (StanfordCars(root, split, crop=False) for split in ("train", "test"))
    return identify(root, train.class_names, train.labels, test.labels)


def test_ones_own_data_is_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_cars(tmp_path / "Vans of Leeds", [Photo()])
    assert name_of(root) == name_of(root / "stanford_cars") == "Vans of Leeds"
    monkeypatch.chdir(root)
    assert name_of(Path()) == "Vans of Leeds"
    (root / "stanford_cars").rename(root / "inner")
    assert name_of(root / "inner") == "inner"


@pytest.mark.parametrize("name", ["Stanford Cars", "drawn cars"])
def test_a_folders_name_alone_proves_nothing(tmp_path: Path, name: str) -> None:
    assert name_of(write_cars(tmp_path / name, [Photo()])) == f"my {name}"


def test_drawn_cars_are_called_drawn_wherever_they_are(tmp_path: Path) -> None:
    draw_cars(tmp_path / "data", DrawnCars(classes=2, train=1, test=1), progress=False)
    assert name_of(tmp_path / "data") == "drawn cars"
    shutil.move(tmp_path / "data/stanford_cars", tmp_path / "moved")
    assert name_of(tmp_path / "moved") == "drawn cars"


def test_the_digest_depends_on_names_labels_and_their_split() -> None:
    digests = {
        annotation_digest(["a", "b"], [0, 1], [1]),
        annotation_digest(["b", "a"], [0, 1], [1]),
        annotation_digest(["a", "b"], [1, 0], [1]),
        annotation_digest(["a", "b"], [0], [1, 1]),
        annotation_digest(["a", "b"], [0, 1], [0]),
    }
    assert len(digests) == 5
    assert annotation_digest(["a", "b"], np.array([0, 1], np.uint8), [1]) in digests
    assert STANFORD_CARS_DIGEST not in digests


@pytest.mark.realdata
def test_the_real_data_is_stanford_cars(real_root: Path) -> None:
    assert name_of(real_root) == "Stanford Cars"
    train, test = (StanfordCars(real_root, split, crop=False) for split in ("train", "test"))
    assert identify(real_root, train.class_names, train.labels, test.labels[:-1]) != "Stanford Cars"

"""Annotation files: read once, and what is said of those that cannot be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from carsfg.data.sources.annotations import check_present, find_folder, read_class_names, read_mat
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.conftest import NAMES, Photo, write_cars
from tests.data.test_image_folder import fill


def test_a_file_is_read_once_until_it_changes(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, loadmat = [], scipy.io.loadmat

    def counted(path: str, **options: Any) -> Any:
        read.append(Path(path).name)
        return loadmat(path, **options)

    monkeypatch.setattr(scipy.io, "loadmat", counted)
    for _ in range(3):
        splits = [StanfordCars(cars, "train"), StanfordCars(cars, "test")]
    assert sorted(read) == ["cars_meta.mat", "cars_test_annos_withlabels.mat", "cars_train_annos.mat"]
    splits[0].labels[0] = 9  # is nobody else's
    assert StanfordCars(cars, "train").labels.tolist() == [0, 1, 2]
    meta = cars / "stanford_cars/devkit/cars_meta.mat"
    scipy.io.savemat(str(meta), {"class_names": np.array([["another", "names"]], dtype=object)})
    assert read_class_names(cars / "stanford_cars") == ["another", "names"]


def test_class_names_are_not_shared(cars: Path) -> None:
    read_class_names(cars / "stanford_cars").clear()
    assert read_class_names(cars / "stanford_cars") == list(NAMES)


def test_matlab_7_3_is_named(tmp_path: Path) -> None:
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024 HDF5 schema 1.00 ."
    path = tmp_path / "cars_meta.mat"
    path.write_bytes(head.ljust(116) + b"\0" * 8 + b"\0\2IM" + b"\0" * 384 + b"\x89HDF\r\n\x1a\n" + b"\0" * 2000)
    with pytest.raises(InputError, match=r"was saved as MATLAB 7\.3, which is not read: save it with the option -v7"):
        read_mat(path, "class_names")


@pytest.mark.parametrize("folder", ["cars_train/", "some\\where\\"])
def test_file_names_with_a_folder_are_read_by_their_last_part(cars: Path, folder: str) -> None:
    path = cars / "stanford_cars/devkit/cars_train_annos.mat"
    rows = scipy.io.loadmat(str(path))["annotations"]
    for place in range(3):
        rows[0, place]["fname"] = f"{folder}{place + 1:05}.jpg"
    scipy.io.savemat(str(path), {"annotations": rows})
    assert StanfordCars(cars, "train").paths[2].name == "00003.jpg"
    assert StanfordCars(cars, "train").load(2).size == (300, 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("anno_train.csv", "Kaggle's folders per class .*: add --data=PhotoDataModule$"),
        ("car_ims", "the older single folder .* give the official files"),
    ],
)
def test_other_layouts_are_named(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds Stanford Cars as {words}"):
        find_folder(tmp_path)


def refuse(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_what_must_not_be_read_is_not_called_damaged(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything: the refusal is made up."""
    train = cars / "stanford_cars/cars_train"
    with monkeypatch.context() as closed:
        closed.setattr(Path, "iterdir", refuse)
        with pytest.raises(InputError, match=r"cannot read .*cars_train \(Permission denied\): check its permissions"):
            check_present(train, ["00001.jpg"], Path("annotations.mat"))
    with monkeypatch.context() as closed:
        closed.setattr(Path, "exists", refuse)
        with pytest.raises(InputError, match=r"cannot read .*devkit \(Permission denied\)"):
            find_folder(cars)
    with monkeypatch.context() as closed:
        closed.setattr(Path, "open", refuse)
        with pytest.raises(InputError, match=r"cannot read .*cars_meta\.mat \(Permission denied\)"):
            read_mat(cars / "stanford_cars/devkit/cars_meta.mat", "class_names")


@pytest.mark.parametrize("name", ["photos", "flat", "cars.csv"])
def test_photos_in_another_layout_are_pointed_to_their_datamodule(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "photos", "golf/1.JPG", "polo/2.jpg")
    fill(tmp_path / "flat", "1.jpg", "2.jpg")
    (tmp_path / "cars.csv").write_text("path,label\n")
    with pytest.raises(InputError, match=rf"{name} is not Stanford Cars: for photos .* add --data=PhotoDataModule"):
        find_folder(tmp_path / name)


def test_a_split_as_image_source(tmp_path: Path) -> None:
    source = StanfordCars(write_cars(tmp_path, [Photo(label=3), Photo(label=2)]), "train").source
    assert len(source) == 2
    assert [path.name for path in source.paths] == ["00001.jpg", "00002.jpg"]
    assert source.labels.tolist() == [2, 1]
    assert source.class_names == list(NAMES)
    assert source.boxes is not None
    assert source.boxes.tolist() == [[2, 1, 6, 5]] * 2
    assert source.parts == ["train", "train"]
    assert source.groups is None
    expected = {"make": ["Acura", "Ram"], "body": ["Sedan", "Minivan"], "year": ["2012", "2012"]}
    assert source.attributes == expected

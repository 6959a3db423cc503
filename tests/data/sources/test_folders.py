"""Class folders in every layout, and what is wrong with them."""

import unicodedata
from pathlib import Path

import pytest

from carsfg.data.sources.folders import read_folders
from carsfg.errors import InputError
from tests.data.test_image_folder import fill


def test_a_class_is_the_first_folder(tmp_path: Path) -> None:
    source = read_folders(fill(tmp_path, "b/2.jpg", "b/1.PNG", "a x/1.jpeg", "c/d/1.webp", "c/e/2.tif"))
    assert [source.name(row) for row in range(5)] == ["b/1.PNG", "a x/1.jpeg", "c/d/1.webp", "b/2.jpg", "c/e/2.tif"]
    assert source.class_names == ["a x", "b", "c"]
    assert source.labels.tolist() == [1, 0, 2, 1, 2]
    assert (source.parts, source.boxes, source.groups, source.left_out) == (None, None, None, "")


def test_another_level_names_the_class(tmp_path: Path) -> None:
    source = read_folders(fill(tmp_path, "BMW/M3/1.jpg", "BMW/M5/2.jpg", "VW/Golf/3.jpg", "VW/4.jpg"), class_level=2)
    assert source.class_names == ["Golf", "M3", "M5"]
    assert source.labels.tolist() == [1, 2, 0]
    assert source.left_out == "left out: 1 outside a class folder of level 2"


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(val: str, tmp_path: Path) -> None:
    source = read_folders(fill(tmp_path, "train/a/1.jpg", "train/b/2.jpg", f"{val}/a/3.jpg", "test/b/x/4.jpg"))
    assert source.class_names == ["a", "b"]
    assert source.parts is not None
    found = {source.name(row): (source.parts[row], int(source.labels[row])) for row in range(4)}
    assert found == {
        "train/a/1.jpg": ("train", 0),
        "train/b/2.jpg": ("train", 1),
        f"{val}/a/3.jpg": ("val", 0),
        "test/b/x/4.jpg": ("test", 1),
    }


def test_images_are_in_the_order_of_splits_and_file_names(tmp_path: Path) -> None:
    files = ("test/a/1.jpg", "train/b/2.jpg", "train/a/3.jpg", "train/b/4.jpg", "train/a/2.jpg")
    source = read_folders(fill(tmp_path, *files))
    names = [source.name(row) for row in range(5)]
    assert names == ["train/a/2.jpg", "train/b/2.jpg", "train/a/3.jpg", "train/b/4.jpg", "test/a/1.jpg"]
    assert source.labels.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("names", [["train/1.jpg", "bus/2.jpg"], ["train/1.jpg"], ["test/1.jpg", "val/2.jpg"]])
def test_classes_that_are_called_like_splits(names: list[str], tmp_path: Path) -> None:
    source = read_folders(fill(tmp_path, *names))
    assert source.parts is None
    assert source.class_names == sorted(name.split("/")[0] for name in names)


def test_images_of_class_folders_alone_are_taken(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a/1.jpg", "2.jpg", ".hidden/3.jpg", "b/4.jpg")
    (folder / "b/notes.txt").write_text("x")
    source = read_folders(folder)
    assert [source.name(row) for row in range(2)] == ["a/1.jpg", "b/4.jpg"]
    assert source.left_out == "left out: 1 .txt, 1 hidden, 1 outside a class folder of level 1"


def test_names_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "Citroën é") for form in ("NFC", "NFD"))
    source = read_folders(fill(tmp_path, f"{one}/1.jpg", f"{other}/2.jpg", "日本/3.jpg"))
    assert source.class_names == [one, "日本"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no image in .*looked for .jpg"),
        (["1.jpg", "2.jpg"], "no image in .* lies in a class folder of level 1: sort the images into one folder per"),
        (
            ["train/a/1.jpg", "test/a/2.jpg", "new/3.jpg", "new/4.jpg"],
            "splits test, train, but also 'new' with 2 images",
        ),
    ],
)
def test_folders_that_cannot_be_read(names: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_folders(fill(tmp_path, *names))


def test_no_folder_and_no_level(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist"):
        read_folders(tmp_path / "nowhere")
    with pytest.raises(InputError, match="class_level 0 must be 1 or more"):
        read_folders(tmp_path, class_level=0)

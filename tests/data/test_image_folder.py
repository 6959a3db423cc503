"""Folders of images: which are found, what their classes are, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_folder import find_photos, to_square
from carsfg.data.image_listing import list_images
from carsfg.data.sources.table import Columns
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.conftest import NAMES, encode, gradient


def fill(folder: Path, *names: str) -> Path:
    """Write an image of 10 x 8 pixels under each name; its blue is the name's place."""
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(gradient(shift=place)))
    return folder


def names(photos: CroppedImages) -> list[str]:
    return [photos.source.name(place) for place in range(len(photos))]


def test_a_class_is_the_name_of_its_first_folder(tmp_path: Path) -> None:
    photos = find_photos(fill(tmp_path, "b/2.jpg", "b/1.PNG", "a x/3.jpeg", "c/d/5.webp", "c/d/6.tif"))
    assert names(photos) == ["b/1.PNG", "b/2.jpg", "a x/3.jpeg", "c/d/5.webp", "c/d/6.tif"]
    assert photos.class_names == ["a x", "b", "c"]
    assert photos.labels.tolist() == [1, 1, 0, 2, 2]
    assert np.asarray(photos.load(0))[0, 0].tolist() == [0, 0, 1]
    deeper = find_photos(tmp_path, class_level=2)
    assert (deeper.class_names, len(deeper)) == (["d"], 2)
    assert "3 outside a class folder of level 2" in deeper.source.left_out


def test_a_folder_without_sub_folders_is_one_class_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "garage", "one.jpg", "two.jpg")
    assert find_photos(tmp_path / "garage").class_names == ["garage"]
    monkeypatch.chdir(tmp_path / "garage")
    assert find_photos(".").class_names == ["garage"]
    assert names(find_photos(".")) == ["one.jpg", "two.jpg"]
    fill(tmp_path / "garage", "vans/three.jpg")
    assert names(find_photos(".")) == ["vans/three.jpg"]
    assert find_photos(".").source.left_out == "left out: 2 outside a class folder of level 1"


def test_splits_of_folders_and_tables(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "train/a/1.jpg", "train/b/2.jpg", "valid/a/3.jpg")
    assert names(find_photos(folder)) == ["train/a/1.jpg", "train/b/2.jpg", "valid/a/3.jpg"]
    assert names(find_photos(folder, split="val")) == ["valid/a/3.jpg"]
    assert find_photos(folder, split="val").class_names == ["a", "b"]
    with pytest.raises(InputError, match=r"in has no split 'test', but train and val$"):
        find_photos(folder, split="test")
    table = tmp_path / "cars.csv"
    table.write_text("file,model,split\ntrain/a/1.jpg,x,test\ntrain/b/2.jpg,y,train\n")
    photos = find_photos(table, split="test", images=str(folder), columns=Columns(path="file", label="model"))
    assert (names(photos), photos.class_names, photos.labels.tolist()) == (["train/a/1.jpg"], ["x", "y"], [0])


def test_boxes_and_attributes_of_a_table(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg", "2.jpg")
    table = tmp_path / "cars.csv"
    table.write_text("path,label,x0,y0,x1,y1,colour\n1.jpg,a,2,1,6,5,red\n2.jpg,a,,,,,blue\n")
    photos = find_photos(table)
    assert [photos.load(place).size for place in (0, 1)] == [(4, 4), (10, 8)]
    assert photos.source.attributes == {"colour": ["red", "blue"]}
    assert find_photos(table, margin=0.5).load(0).size == (8, 7)
    assert find_photos(table, crop=False).load(0).size == (10, 8)
    table.write_text("path,label,x0,y0,x1,y1\n1.jpg,a,,,,\n2.jpg,a,,,,\n")
    assert find_photos(table).boxes is None


def test_hidden_files_and_what_is_no_image_are_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / ".cache/cars", "a/1.jpg", "a/.2.jpg", ".trash/3.jpg", "a/.thumbs/x/4.jpg")
    (folder / "a/notes.txt").write_text("none")
    (folder / "a/folder.jpg").mkdir()
    assert list_images(folder).paths == [folder / "a/1.jpg"]
    assert find_photos(folder).class_names == ["a"]


def test_the_annotations_of_stanford_cars(cars: Path) -> None:
    for root, name in ((cars, "stanford_cars/cars_test/00001.jpg"), (cars / "stanford_cars", "cars_test/00001.jpg")):
        photos = find_photos(root)
        assert (len(photos), photos.class_names, photos.labels.tolist()) == (4, list(NAMES), [0, 1, 2, 0])
        assert names(photos)[3] == name
    assert np.array_equal(np.asarray(photos.load(0)), gradient()[1:5, 2:6])  # box 3, 2, 6, 5, counted from 1
    assert np.array_equal(np.asarray(photos.load(3)), gradient()[1:5, 2:6])
    assert photos.load(2).size == (300, 4)


def test_class_names_of_other_data_are_not_parsed(cars: Path, drawn_root: Path) -> None:
    assert find_photos(cars).source.attributes == {}
    assert find_photos(cars, split="test").source.attributes == {}
    (drawn,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0")
    attributes = find_photos(drawn, split="test").source.attributes
    assert {name: len(values) for name, values in attributes.items()} == {"make": 20, "body": 20, "year": 20}
    assert set(attributes["year"]) < {str(year) for year in range(1990, 2020)}


def test_crops_as_training_has_them(cars: Path) -> None:
    for crop, margin in ((True, 0.5), (False, 0.0)):
        photos, train = find_photos(cars, crop, margin), StanfordCars(cars, "train", crop, margin)
        assert all(photos.load(place).tobytes() == train.load(place).tobytes() for place in range(3))
    assert find_photos(cars, crop=False).load(0).size == (10, 8)
    assert find_photos(cars, margin=0.5).load(0).size == (8, 7)  # 4 x 4 with 2 on each side, cut off at the top


def test_one_split(cars: Path) -> None:
    photos = find_photos(cars, split="test")
    assert (len(photos), photos.labels.tolist()) == (1, [0])
    assert names(photos) == ["stanford_cars/cars_test/00001.jpg"]
    with pytest.raises(InputError, match="has no split 'val', but train and test"):
        find_photos(cars, split="val")


@pytest.mark.parametrize("size", [(10, 8), (1, 1), (2000, 3), (16, 16)])
def test_squares(size: tuple[int, int]) -> None:
    pixels = to_square(Image.new("RGB", size, (1, 2, 3)), 16)
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16), torch.uint8)
    assert [set(channel.flatten().tolist()) for channel in pixels] == [{1}, {2}, {3}]


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    pixels = gradient(16, 16)
    assert np.array_equal(to_square(Image.fromarray(pixels), 16).permute(1, 2, 0).numpy(), pixels)


def test_folders_that_cannot_be_used(cars: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "plain", "1.jpg")
    with pytest.raises(InputError, match="the folder or table nowhere does not exist"):
        find_photos("nowhere")
    with pytest.raises(InputError, match=r"1\.jpg.*csv"):
        find_photos(tmp_path / "plain/1.jpg")
    with pytest.raises(InputError, match=r"no image in .*empty: looked for \.jpg, .*\.png"):
        find_photos(tmp_path / "empty")
    with pytest.raises(InputError, match="plain has no split 'test': it has no folders train and test"):
        find_photos(tmp_path / "plain", split="test")
    (cars / "stanford_cars/cars_test_annos_withlabels.mat").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot read 'annotations' from .*cars_test_annos_withlabels\.mat"):
        find_photos(cars)


def test_a_folder_above_the_annotations(cars: Path, tmp_path: Path) -> None:
    below = tmp_path / "above" / "cars"
    below.mkdir(parents=True)
    (cars / "stanford_cars").rename(below / "stanford_cars")
    with pytest.raises(InputError, match=f"is not a folder of images, but {below} is Stanford Cars: name that"):
        find_photos(below.parent)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(InputError, match=r"the folder or table a{300} does not exist"):
        find_photos("a" * 300)

"""Folders of images: which are found, what their classes are, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.data.image_folder import Photos, to_square
from carsfg.data.image_listing import list_images
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.conftest import NAMES, encode, gradient


def fill(folder: Path, *names: str) -> Path:
    """Write an image of 10 x 8 pixels under each name; its blue is the name's place."""
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(gradient(shift=place)))
    return folder


def test_a_class_is_the_name_of_its_folder(tmp_path: Path) -> None:
    photos = Photos.find(fill(tmp_path, "b/2.jpg", "b/1.PNG", "a x/1.jpeg", "c/d/1.webp", "c/d/2.tif"))
    names = [photos.name(place) for place in range(len(photos))]
    assert names == ["a x/1.jpeg", "b/1.PNG", "b/2.jpg", "c/d/1.webp", "c/d/2.tif"]
    assert photos.class_names == ["a x", "b", "c/d"]
    assert photos.labels.tolist() == [0, 1, 1, 2, 2]
    assert np.asarray(photos.load(1))[0, 0].tolist() == [0, 0, 1]


def test_images_in_the_folder_itself_are_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "garage", "one.jpg", "two.jpg", "vans/three.jpg")
    assert Photos.find(tmp_path / "garage").class_names == ["garage", "vans"]
    monkeypatch.chdir(tmp_path / "garage")
    assert Photos.find(".").class_names == ["garage", "vans"]
    assert Photos.find(".").name(0) == "one.jpg"


def test_hidden_files_and_what_is_no_image_are_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / ".cache/cars", "a/1.jpg", "a/.2.jpg", ".trash/3.jpg", "a/.thumbs/x/4.jpg")
    (folder / "a/notes.txt").write_text("none")
    (folder / "a/folder.jpg").mkdir()
    assert list_images(folder).paths == [folder / "a/1.jpg"]
    assert Photos.find(folder).class_names == ["a"]


def test_the_annotations_of_stanford_cars(cars: Path) -> None:
    for root, name in ((cars, "stanford_cars/cars_test/00001.jpg"), (cars / "stanford_cars", "cars_test/00001.jpg")):
        photos = Photos.find(root)
        assert (len(photos), photos.class_names, photos.labels.tolist()) == (4, list(NAMES), [0, 1, 2, 0])
        assert photos.name(3) == name
    assert np.array_equal(np.asarray(photos.load(0)), gradient()[1:5, 2:6])  # box 3, 2, 6, 5, counted from 1
    assert np.array_equal(np.asarray(photos.load(3)), gradient()[1:5, 2:6])
    assert photos.load(2).size == (300, 4)


def test_crops_as_training_has_them(cars: Path) -> None:
    for crop, margin in ((True, 0.5), (False, 0.0)):
        photos, train = Photos.find(cars, crop, margin), StanfordCars(cars, "train", crop, margin)
        assert all(photos.load(place).tobytes() == train.load(place).tobytes() for place in range(3))
    assert Photos.find(cars, crop=False).load(0).size == (10, 8)
    assert Photos.find(cars, margin=0.5).load(0).size == (8, 7)  # 4 x 4 with 2 on each side, cut off at the top


def test_one_split(cars: Path) -> None:
    photos = Photos.find(cars, split="test")
    assert (len(photos), photos.labels.tolist()) == (1, [0])
    assert photos.name(0) == "stanford_cars/cars_test/00001.jpg"


def test_all_in_order_and_the_unreadable_by_name(cars: Path, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", *(f"{place:03}.png" for place in range(60)))
    (folder / "007.png").write_bytes(b"no image")
    (folder / "040.png").write_bytes(encode(gradient())[:50])
    found = list(Photos.find(folder).each(lambda image: int(np.asarray(image)[0, 0, 2]), progress=False))
    wrong = {place: str(one) for place, one in enumerate(found) if isinstance(one, InputError)}
    assert [one for one in found if not isinstance(one, InputError)] == [n for n in range(60) if n not in (7, 40)]
    assert list(wrong) == [7, 40]
    assert "some/007.png is not an image" in wrong[7]
    assert "some/040.png cannot be decoded" in wrong[40]
    (cars / "stanford_cars/cars_train/00002.jpg").write_bytes(b"")
    sizes = list(Photos.find(cars).each(lambda image: image.size, progress=False))
    assert [one for one in sizes if not isinstance(one, InputError)] == [(4, 4), (300, 4), (4, 4)]
    assert "cars_train/00002.jpg" in str(sizes[1])


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
    with pytest.raises(InputError, match="there is no folder nowhere"):
        Photos.find("nowhere")
    with pytest.raises(InputError, match=r"there is no folder .*plain/1\.jpg"):
        Photos.find(tmp_path / "plain/1.jpg")
    with pytest.raises(InputError, match=r"no image in .*empty: looked for \.jpg, .*\.png"):
        Photos.find(tmp_path / "empty")
    with pytest.raises(InputError, match="plain has no split 'test': only Stanford Cars"):
        Photos.find(tmp_path / "plain", split="test")
    (cars / "stanford_cars/cars_test_annos_withlabels.mat").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot read 'annotations' from .*cars_test_annos_withlabels\.mat"):
        Photos.find(cars)


def test_a_folder_above_the_annotations(cars: Path, tmp_path: Path) -> None:
    below = tmp_path / "above" / "cars"
    below.mkdir(parents=True)
    (cars / "stanford_cars").rename(below / "stanford_cars")
    with pytest.raises(InputError, match=f"is not a folder of images, but {below} is Stanford Cars: name that"):
        Photos.find(below.parent)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(InputError, match="there is no folder aaa"):
        Photos.find("a" * 300)

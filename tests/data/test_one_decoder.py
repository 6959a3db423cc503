"""A file gives the same pixels as a training image, in a folder of images, and as a query."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carsfg.data.crop_cache import CropCache
from carsfg.data.image_folder import find_photos, to_square
from carsfg.data.image_io import read_image, upright_size
from carsfg.data.stanford_cars_dataset import StanfordCars
from tests.data.conftest import Photo, write_cars
from tests.data.test_image_io import encoded, two_halves


def with_orientation(image: Image.Image, value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(image, "JPEG", exif=exif)


def test_the_size_from_the_head_is_that_of_the_decoded_image(tmp_path: Path) -> None:
    for orientation in (1, 3, 6):
        path = tmp_path / f"{orientation}.jpg"
        path.write_bytes(with_orientation(two_halves(), orientation))
        assert upright_size(path) == read_image(path).size


def transparent() -> bytes:
    image = two_halves("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    return encoded(image, "PNG")


def deep() -> bytes:
    return encoded(Image.fromarray(np.linspace(0, 65535, 40).astype(np.uint16)[None].repeat(20, 0)), "PNG")


@pytest.mark.parametrize(
    "data", [with_orientation(two_halves(), 6), transparent(), deep()], ids=["sideways", "transparent", "16 bits"]
)
def test_a_file_is_the_same_in_the_data_set_in_a_folder_and_as_a_query(data: bytes, tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(data=data, box=(1, 1, 20, 20))])
    cars = StanfordCars(tmp_path, "train", crop=False)
    (tmp_path / "folder/a").mkdir(parents=True)
    (tmp_path / "folder/a/1.jpg").write_bytes(data)
    expected = read_image(data)
    crops = CropCache.open(cars, 16, tmp_path / "cache").images[0]
    for image in (cars.load(0), find_photos(tmp_path / "folder").load(0), read_image(cars.paths[0])):
        assert (image.size, image.tobytes()) == (expected.size, expected.tobytes())
        assert np.array_equal(to_square(image, 16).permute(1, 2, 0).numpy(), crops)


def test_boxes_are_in_pixels_of_the_upright_image(tmp_path: Path) -> None:
    upright = Photo(data=with_orientation(two_halves(), 6), box=(1, 1, 20, 40))  # 40 x 20 in the file
    write_cars(tmp_path, [upright])
    assert StanfordCars(tmp_path, "train").load(0).size == (20, 40)

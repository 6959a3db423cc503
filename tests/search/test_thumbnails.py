"""Small pictures: their shape, their file, and damage."""

import io

import numpy as np
import pytest
from PIL import Image

from carsfg.errors import InputError
from carsfg.search.thumbnails import Thumbnails, encode

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


def three() -> Thumbnails:
    return Thumbnails.of([encode(Image.new("RGB", (30 + place, 20), one)) for place, one in enumerate(COLOURS)])


@pytest.mark.parametrize(
    ("size", "small"),
    [((448, 200), (224, 100)), ((90, 480), (42, 224)), ((30, 20), (30, 20)), ((1, 1), (1, 1)), ((20_000, 3), (224, 1))],
)
def test_shapes_are_kept(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "teal")
    decoded = Image.open(io.BytesIO(encode(image)))
    assert (decoded.format, decoded.size) == ("JPEG", small)
    assert image.size == size  # the original is not touched
    assert encode(image) == encode(image)


def test_each_comes_back() -> None:
    pictures = three()
    assert len(pictures) == 3
    for place, colour in enumerate(COLOURS):
        assert (pictures[place].mode, pictures[place].size) == ("RGB", (30 + place, 20))
        assert np.abs(np.subtract(pictures[place].getpixel((5, 5)), colour)).max() < 8  # type: ignore[arg-type]
        assert pictures.jpeg(place) == encode(Image.new("RGB", (30 + place, 20), colour))


def test_a_damaged_picture() -> None:
    jpegs = [encode(Image.new("RGB", (30, 20))), b"\xff\xd8 nothing"]
    with pytest.raises(InputError, match=r"the picture of image 1 in the gallery's thumbnails\.npy is damaged"):
        Thumbnails.of(jpegs)[1]

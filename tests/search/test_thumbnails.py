"""Small pictures: their shape, their file, and numbers that do not belong to it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_saved_and_mapped(tmp_path: Path) -> None:
    three().save(tmp_path / "some.bin")
    opened = Thumbnails.open(tmp_path / "some.bin", three().offsets)
    assert [opened.jpeg(place) for place in range(3)] == [three().jpeg(place) for place in range(3)]
    assert isinstance(opened.data, np.memmap)
    opened.save(tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "some.bin").read_bytes()


@pytest.mark.parametrize(
    "offsets",
    [[], [0], [0, 9], [1, 10], [0, 11], [0, 6, 5, 10], [0, -1, 10], [0, 99, 10], [0, 2**63, 10], [0, 2**70, 10]],
)
def test_numbers_that_do_not_belong_to_the_data(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="its pictures are not where they should be"):
        Thumbnails(np.zeros(10, np.uint8), offsets)


def test_files_that_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Thumbnails.open(tmp_path / "none.bin", [0, 10])
    (tmp_path / "cut.bin").write_bytes(bytes(9))
    with pytest.raises(ValueError, match="its pictures are not where they should be"):
        Thumbnails.open(tmp_path / "cut.bin", [0, 10])
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        Thumbnails.open(tmp_path / "empty.bin", [0, 10])

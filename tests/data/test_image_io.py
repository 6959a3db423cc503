"""Photos in every shape that people have, and what only looks like one."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carsfg.data import image_io
from carsfg.data.image_io import crop_photo, read_photo
from carsfg.errors import InputError

RED, BLUE = (200, 30, 40), (20, 40, 210)


def two_halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **kwargs)
    return file.getvalue()


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int], by: int = 12) -> bool:
    return bool(np.abs(np.subtract(image.getpixel(place), colour)).max() <= by)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB"),
     ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "CMYK")],
)  # fmt: skip
def test_formats_and_modes(kind: str, mode: str) -> None:
    image = read_photo(encoded(two_halves(mode), kind))
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(image, (5, 10), RED, by=45)  # CMYK and palettes are not exact
    assert near(image, (35, 10), BLUE, by=45)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_upright(orientation: int) -> None:
    """The file holds what a camera held in eight ways would have stored."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = two_halves().transpose(turns[orientation]) if orientation in turns else two_halves()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_photo(encoded(stored, "JPEG", exif=exif, quality=95))
    assert image.size == (40, 20)
    assert near(image, (5, 10), RED)
    assert near(image, (35, 10), BLUE)
    assert not image.getexif()  # where it was taken, and by whom, stays behind


def test_greyscale_in_eight_and_sixteen_bits() -> None:
    ramp = np.linspace(0, 255, 40).round().astype(np.uint8)[None].repeat(20, 0)
    for stored in (ramp, ramp.astype(np.uint16) * 257):
        image = np.asarray(read_photo(encoded(Image.fromarray(stored), "PNG")))
        assert image.shape == (20, 40, 3)
        assert np.array_equal(image[:, :, 0], ramp)


def test_transparent_is_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert read_photo(encoded(clear, "PNG")).getpixel((1, 1)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    assert read_photo(encoded(palette, "GIF", transparency=0)).getpixel((1, 1)) == (255, 255, 255)


def test_the_first_frame_of_an_animation() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    assert near(read_photo(data), (4, 4), RED)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (3, 20_000)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    assert read_photo(encoded(Image.new("RGB", size, RED), "PNG")).size == size


def test_a_file_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "car.txt"
    path.write_bytes(encoded(two_halves(), "PNG"))
    assert read_photo(path).size == (40, 20)


def bomb(side: int) -> bytes:
    """A PNG of so many pixels a side in a few bytes: its header says so, its data hardly begins."""
    header = encoded(Image.new("L", (1, 1)), "PNG")
    size = side.to_bytes(4, "big")
    start = b"IHDR" + size + size + header[24:29]
    return header[:12] + start + zlib.crc32(start).to_bytes(4, "big") + header[33:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no image"),
        (b"hello", "is no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image"),
        (b"%PDF-1.4", "is no image"),
        (encoded(two_halves(), "JPEG")[:300], "cannot be decoded, it is damaged or cut off"),
        (encoded(two_halves(size=(400, 200)), "PNG")[:100], "cannot be decoded"),
        (bomb(12_000), "has 12000 x 12000 pixels: photos of up to 100 million are taken"),
        (bomb(30_000), "has too many pixels: photos of up to 100 million are taken"),
        (encoded(two_halves(), "ICO"), "is no image"),
    ],
)
def test_what_is_no_photo(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=f"the photo.*{words}"):
        read_photo(data)


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_io, "MOST_BYTES", 2**20)
    (tmp_path / "huge.jpg").write_bytes(bytes(3 * 2**20))
    for source in (tmp_path / "huge.jpg", bytes(3 * 2**20)):
        with pytest.raises(InputError, match="is too large: photos of up to 1 MB are taken"):
            read_photo(source)


@pytest.mark.parametrize("name", ["nowhere.jpg", "."])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read "):
        read_photo(tmp_path / name)


def test_a_box_is_cut() -> None:
    right = crop_photo(two_halves(), (20, 0, 40, 20))
    assert right.size == (20, 20)
    assert near(right, (0, 0), BLUE)
    assert crop_photo(two_halves(), None).size == (40, 20)


@pytest.mark.parametrize("box", [(0, 0, 41, 20), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 0, 5, 5)])
def test_boxes_that_do_not_fit(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="leaves the photo of 40 x 20 pixels"):
        crop_photo(two_halves(), box)


def test_a_file_without_end() -> None:
    with pytest.raises(InputError, match="/dev/zero is too large"):
        read_photo("/dev/zero")

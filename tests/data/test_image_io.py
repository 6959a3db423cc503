"""Photos in every shape that people have, and what only looks like one."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, PngImagePlugin

from carsfg.data import image_io
from carsfg.data.image_io import crop_photo, read_image
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
    image = read_image(encoded(two_halves(mode), kind))
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
    image = read_image(encoded(stored, "JPEG", exif=exif, quality=95))
    assert image.size == (40, 20)
    assert near(image, (5, 10), RED)
    assert near(image, (35, 10), BLUE)
    assert not image.getexif()  # where it was taken, and by whom, stays behind


def test_greyscale_in_eight_and_sixteen_bits() -> None:
    ramp = np.linspace(0, 255, 40).round().astype(np.uint8)[None].repeat(20, 0)
    for stored in (ramp, ramp.astype(np.uint16) * 257):
        image = np.asarray(read_image(encoded(Image.fromarray(stored), "PNG")))
        assert image.shape == (20, 40, 3)
        assert np.array_equal(image[:, :, 0], ramp)


def test_transparent_is_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert read_image(encoded(clear, "PNG")).getpixel((1, 1)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    assert read_image(encoded(palette, "GIF", transparency=0)).getpixel((1, 1)) == (255, 255, 255)


def test_the_first_frame_of_an_animation() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    assert near(read_image(data), (4, 4), RED)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (3, 20_000)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    assert read_image(encoded(Image.new("RGB", size, RED), "PNG")).size == size


def test_a_file_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "car.txt"
    path.write_bytes(encoded(two_halves(), "PNG"))
    assert read_image(path).size == (40, 20)


def bomb(side: int) -> bytes:
    """A PNG of so many pixels a side in a few bytes: its header says so, its data hardly begins."""
    header = encoded(Image.new("L", (1, 1)), "PNG")
    size = side.to_bytes(4, "big")
    start = b"IHDR" + size + size + header[24:29]
    return header[:12] + start + zlib.crc32(start).to_bytes(4, "big") + header[33:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not an image"),
        (b"hello", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (b"%PDF-1.4", "is not an image"),
        (encoded(two_halves(), "JPEG")[:300], "cannot be decoded, it is damaged or cut off"),
        (encoded(two_halves(size=(400, 200)), "PNG")[:100], "cannot be decoded"),
        (bomb(12_000), "has 12000 x 12000 pixels: at most 100 million are read"),
        (bomb(30_000), "has too many pixels: at most 100 million are read"),
        (encoded(two_halves(), "ICO"), "is not an image"),
    ],
)
def test_what_is_no_photo(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=f"the photo.*{words}"):
        read_image(data)


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_io, "MAX_IMAGE_BYTES", 2**20)
    (tmp_path / "huge.jpg").write_bytes(bytes(3 * 2**20))
    for source in (tmp_path / "huge.jpg", bytes(3 * 2**20)):
        with pytest.raises(InputError, match="is too large: at most 1 MB are read"):
            read_image(source)


@pytest.mark.parametrize("name", ["nowhere.jpg", "."])
def test_files_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read "):
        read_image(tmp_path / name)


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
        read_image("/dev/zero")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_upright_in_every_format_that_has_an_orientation(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(encoded(two_halves().transpose(Image.Transpose.ROTATE_90), kind, exif=exif))
    assert image.size == (40, 20)
    assert near(image, (5, 10), RED)


def damaged_exif(kind: str) -> list[bytes]:
    """The same photo with its EXIF block damaged in 60 ways."""
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "maker", 0x011A: 72.0, 0x8298: "somebody", 0x9286: "comment", 0x0132: "2012"})
    block = exif.tobytes()
    data, random, found = encoded(two_halves(), kind, exif=exif), np.random.default_rng(0), []
    for _ in range(60):
        wrong = bytearray(block)
        for place in random.integers(14, len(block), 6).tolist():
            wrong[place] = int(random.integers(256))
        found.append(data.replace(block, bytes(wrong)) if block in data else data.replace(block[6:], bytes(wrong[6:])))
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_does_no_harm(kind: str) -> None:
    files = damaged_exif(kind)
    assert len(set(files)) == 60
    for data in files:
        assert sorted(read_image(data).size) == [20, 40]


RAMP = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (20, 1))
EIGHT_BITS = (RAMP * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    "stored",
    [RAMP, RAMP * 255, (RAMP * 65535).astype(np.uint16), (RAMP * 2**20).astype(np.int32), RAMP * 70_000],
    ids=["float 0..1", "float 0..255", "16 bits", "32 bits", "float 0..70000"],
)
def test_deep_grey_tiffs_are_scaled_to_their_range(stored: npt.NDArray[Any]) -> None:
    image = np.asarray(read_image(encoded(Image.fromarray(stored), "TIFF")))
    assert np.abs(image[:, :, 0].astype(int) - EIGHT_BITS).max() <= 1


def test_unsigned_32_bits_do_not_wrap() -> None:
    values = np.linspace(0, 2**32 - 1, 40).astype(np.uint32)[None].repeat(20, 0)
    data = bytearray(encoded(Image.fromarray(values.view(np.int32)), "TIFF"))
    data[data.index(struct.pack("<HHI", 339, 3, 1)) + 8] = 1  # Pillow writes signed integers only
    assert np.abs(np.asarray(read_image(bytes(data)))[:, :, 0].astype(int) - EIGHT_BITS).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_numbers_are_refused(value: float) -> None:
    values = RAMP.copy()
    values[3, 3] = value
    with pytest.raises(InputError, match="the photo has pixels that are not finite numbers"):
        read_image(encoded(Image.fromarray(values), "TIFF"))


def long_text(compressed: bool) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 1_200_000, zip=compressed)
    return info


def test_a_png_is_read_whatever_stands_beside_its_pixels() -> None:
    image = two_halves()
    plain = encoded(image, "PNG", dpi=(72, 72))
    wrong_checksum = bytearray(plain)
    wrong_checksum[plain.index(b"pHYs") + 13] ^= 255
    files = [encoded(image, "PNG", pnginfo=long_text(compressed)) for compressed in (False, True)]
    files += [encoded(image, "PNG", icc_profile=bytes(1_100_000)), bytes(wrong_checksum)]
    for data in files:
        assert read_image(data).tobytes() == image.tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif, pnginfo=long_text(compressed=True))
    assert read_image(turned).tobytes() == image.tobytes()


@pytest.mark.skipif(not image_io.READS_AVIF, reason="this Pillow does not decode AVIF")
def test_avif_is_read() -> None:
    assert near(read_image(encoded(two_halves(), "AVIF", quality=90)), (5, 10), RED)


@pytest.mark.parametrize(
    ("data", "kind"), [(encoded(two_halves(), "JPEG2000"), "JPEG 2000"), (b"\0\0\0\x18ftypheic\0\0", "HEIC")]
)
def test_images_of_other_formats_are_called_by_their_format(data: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=f"is a {kind} file, which is not read: convert it"):
        read_image(data)

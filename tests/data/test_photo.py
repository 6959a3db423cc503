"""Photos that are decoded no larger than needed: when, at which size, and that the embeddings stay what they are."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box, read_image
from carsfg.data.photo import Photo, read_photo, reduction
from carsfg.errors import InputError
from carsfg.models.cnn import CustomCNN
from carsfg.models.preprocess import Preprocess
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.scene import draw_scene

RED, BLUE = (200, 30, 40), (30, 40, 200)


@pytest.mark.parametrize(
    ("size", "part", "side", "whole_px", "factor"),
    [
        ((4000, 3000), (4000, 3000), 224, 0, 4),
        ((3584, 3584), (3584, 3584), 224, 0, 8),  # 448 pixels remain
        ((3583, 3584), (3583, 3584), 224, 0, 4),
        ((4000, 3000), (895, 3000), 224, 0, 1),  # the shorter side decides
        ((4000, 3000), (896, 3000), 224, 0, 2),
        ((640, 480), (640, 480), 224, 0, 1),
        ((1792, 1344), (1792, 1344), 32, 0, 4),  # a small network: the picture of the gallery decides
        ((4000, 3000), None, 224, 1280, 2),
        ((2559, 2559), None, 224, 1280, 1),
        ((4000, 3000), (4000, 3000), 224, 1280, 2),
    ],
)
def test_the_rule(size: tuple[int, int], part: tuple[int, int] | None, side: int, whole_px: int, factor: int) -> None:
    assert reduction(size, part, side, whole_px) == factor


def two_halves(mode: str = "RGB", size: tuple[int, int] = (2000, 1000)) -> Image.Image:
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **kwargs)
    return buffer.getvalue()


def is_near(image: Image.Image, place: tuple[int, int], colour: tuple[int, ...], least: int = 12) -> bool:
    pixel: Any = image.getpixel(place)
    return bool(max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < least)


@pytest.mark.parametrize("kwargs", [{}, {"progressive": True}, {"subsampling": 0}], ids=["plain", "progressive", "444"])
def test_a_large_jpeg_is_decoded_smaller(kwargs: dict[str, Any]) -> None:
    photo = read_photo(encoded(two_halves(), **kwargs), 224)
    assert (photo.image.size, photo.size, photo.image.mode) == ((1000, 500), (2000, 1000), "RGB")
    assert is_near(photo.image, (490, 250), RED)
    assert is_near(photo.image, (510, 250), BLUE)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_formats_have_their_full_size(kind: str) -> None:
    photo = read_photo(encoded(two_halves(), kind), 224)
    assert photo.image.size == photo.size == (2000, 1000)


def test_sides_that_are_no_multiple_are_rounded_up() -> None:
    photo = read_photo(encoded(two_halves(size=(2003, 1001))), 224)
    assert (photo.image.size, photo.size) == ((1002, 501), (2003, 1001))


def test_greyscale_and_cmyk() -> None:
    grey = read_photo(encoded(two_halves("L")), 224).image
    assert (grey.size, grey.mode) == ((1000, 500), "RGB")
    assert grey.getpixel((10, 10)) == read_image(encoded(two_halves("L"))).getpixel((20, 20))
    ink = read_photo(encoded(two_halves("CMYK")), 224).image
    assert (ink.size, ink.mode) == ((1000, 500), "RGB")
    assert is_near(ink, (10, 10), read_image(encoded(two_halves("CMYK"))).getpixel((20, 20)))  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_are_those_of_the_upright_file(orientation: int) -> None:
    """The box holds the blue half, wherever the camera was turned to."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(two_halves(size=(4000, 2000)), exif=exif)
    box = {1: (2000, 0, 4000, 2000), 3: (0, 0, 2000, 2000), 6: (0, 2000, 2000, 4000), 8: (0, 0, 2000, 2000)}[
        orientation
    ]
    asked: list[tuple[int, int]] = []

    def part(width: int, height: int) -> Box:
        asked.append((width, height))
        return box

    photo = read_photo(data, 224, part)
    size = (4000, 2000) if orientation in (1, 3) else (2000, 4000)
    assert (asked, photo.size) == ([size], size)
    assert photo.image.size == (size[0] // 4, size[1] // 4)
    cut = photo.part(box)
    assert cut.size == (500, 500)
    assert all(is_near(cut, place, BLUE) for place in ((4, 4), (495, 4), (4, 495), (495, 495)))


def test_a_part_of_a_reduced_photo() -> None:
    photo = Photo(Image.new("RGB", (500, 251)), (2000, 1001))
    assert photo.part(None).size == photo.part((0, 0, 2000, 1001)).size == (500, 251)
    assert photo.part((402, 198, 1202, 602)).size == (200, 101)
    assert photo.part((1999, 1000, 2000, 1001)).size == (1, 1)
    with pytest.raises(InputError, match="the box 0,0,2001,9 leaves the photo of 2000 x 1001 pixels"):
        photo.part((0, 0, 2001, 9))


def test_a_box_is_checked_before_the_photo_is_decoded() -> None:
    def refuse(width: int, height: int) -> Box:
        raise InputError(f"no box in {width} x {height}")

    with pytest.raises(InputError, match="no box in 2000 x 1000"):
        read_photo(encoded(two_halves())[:3000], 224, refuse)


def test_a_large_jpeg_that_is_cut_off_is_refused() -> None:
    with pytest.raises(InputError, match="the photo cannot be decoded"):
        read_photo(encoded(Image.effect_noise((2000, 1000), 60))[:90_000], 224)


def scene(number: int) -> tuple[bytes, Box]:
    """A drawn scene of 2,000 pixels with hard edges and sensor noise, as a JPEG, and the box of its car."""
    picture, (x1, y1, x2, y2) = draw_scene(car_model(number), number, np.random.default_rng((7, number)))
    scale = 2000 / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.NEAREST), np.int16)
    noise = np.random.default_rng(number).integers(-10, 11, pixels.shape, np.int16)
    data = encoded(Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)), quality=90)
    x0, y0, x1, y1 = (round(edge * scale) for edge in (x1 - 1, y1 - 1, x2, y2))
    return data, (x0, y0, min(x1, size[0]), min(y1, size[1]))


def test_embeddings_stay_within_the_tolerance() -> None:
    """The tolerance of the module's docstring; pixels of the squares differ by less than 2 of 255 on average."""
    torch.manual_seed(0)
    network, preprocess = CustomCNN(widths=[16, 32, 64], image_size=112).eval(), Preprocess(112)
    for number in range(3):
        data, box = scene(number)
        for part in (None, box):
            reduced, full = read_photo(data, 112, lambda *_, part=part: part), Photo.of(read_image(data))
            assert reduced.image.width < full.image.width
            squares = torch.stack([to_square(one.part(part), 112) for one in (reduced, full)])
            assert (squares[0].float() - squares[1].float()).abs().mean() < 2
            with torch.no_grad():
                one, other = network(preprocess(squares))
            assert torch.cosine_similarity(one, other, dim=0) > 0.998

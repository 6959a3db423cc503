"""Perceptual hashes, and the pairs that they find."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from carsfg.data.near_duplicates import near_duplicates, perceptual_hash
from carsfg.synthetic.dataset import DrawnCars, draw_cars


def test_a_bit_per_brighter_neighbour() -> None:
    ramp = np.tile(np.arange(17, dtype=np.uint8) * 10, (16, 1))
    assert np.unpackbits(perceptual_hash(Image.fromarray(ramp))).tolist() == [1] * 256
    assert np.unpackbits(perceptual_hash(Image.fromarray(255 - ramp))).tolist() == [0] * 256
    ramp[0, 1] = 0  # not brighter than its left neighbour; the next one still is
    assert np.unpackbits(perceptual_hash(Image.fromarray(ramp))).tolist() == [0] + [1] * 255


def test_pairs_within_a_distance() -> None:
    bits = np.zeros((4, 256), np.uint8)
    bits[1, :3] = 1  # 3 from the first
    bits[2, :10] = 1  # 10 from the first, 7 from the second
    bits[3, :] = 1
    hashes = np.packbits(bits, axis=1)
    assert near_duplicates(hashes, 0).tolist() == []
    assert near_duplicates(hashes, 3).tolist() == [[0, 1]]
    assert near_duplicates(hashes, 7).tolist() == [[0, 1], [1, 2]]
    assert near_duplicates(hashes, 10).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert near_duplicates(hashes[:0]).shape == (0, 2)


def test_pairs_far_apart_in_the_list() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (2500, 32), np.uint8)
    hashes[2400], hashes[1500] = hashes[3], hashes[2499]
    assert near_duplicates(hashes).tolist() == [[3, 2400], [1500, 2499]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    root = tmp_path_factory.mktemp("drawn")
    draw_cars(root, DrawnCars(classes=4, train=4, test=1))
    return [Image.open(path).convert("RGB") for path in sorted(root.rglob("cars_train/*.jpg"))]


def saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        saved_again,
        lambda image: image.resize((image.width * 9 // 10, image.height * 9 // 10)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: image.convert("L"),
    ],
    ids=["JPEG", "smaller", "darker", "grey"],
)
def test_the_same_photograph_saved_anew(
    change: Callable[[Image.Image], Image.Image], images: list[Image.Image]
) -> None:
    hashes = np.stack([perceptual_hash(one) for one in [*images, *map(change, images)]])
    pairs = near_duplicates(hashes).tolist()
    assert near_duplicates(hashes[: len(images)]).tolist() == []
    assert {one - other for one, other in pairs} == {-len(images)}  # each with its own copy alone
    assert len(pairs) >= 0.9 * len(images)

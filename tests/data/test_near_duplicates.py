"""Images as few grey cells, and the pairs that they find."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance

from carsfg.data.near_duplicates import grey_cells, near_duplicates
from carsfg.synthetic.dataset import DrawnCars, draw_cars


def noise(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(40, 200, (count, 16, 16), np.uint8)


def test_cells_are_means_of_grey() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:2, 2:4] = [[[100, 100, 100], [200, 200, 200]], [[0, 0, 0], [100, 100, 100]]]
    assert grey_cells(Image.fromarray(pixels))[0, :3].tolist() == [0, 100, 0]


def test_brightness_and_contrast_do_not_matter() -> None:
    cells = np.concatenate([noise(3), noise(3)[:1] // 2 + 90])
    assert near_duplicates(cells).tolist() == [[0, 3]]


def test_the_correlation_decides() -> None:
    cells = noise(2)
    cells[1] = cells[0]
    cells[1, :2] = 255 - cells[1, :2]
    changes = [np.concatenate([np.diff(one.astype(float), axis=axis).ravel() for axis in (0, 1)]) for one in cells]
    value = np.corrcoef(changes[0], changes[1])[0, 1]
    assert 0.5 < value < 0.9
    assert near_duplicates(cells, value - 0.001).tolist() == [[0, 1]]
    assert near_duplicates(cells, value + 0.001).tolist() == []


def test_images_of_one_colour_are_in_no_pair() -> None:
    assert near_duplicates(np.full((3, 16, 16), 7, np.uint8)).tolist() == []
    assert near_duplicates(np.empty((0, 16, 16), np.uint8)).shape == (0, 2)


def test_pairs_far_apart_in_the_list() -> None:
    cells = noise(2500)
    cells[2400], cells[1500] = cells[3], cells[2499]
    assert near_duplicates(cells).tolist() == [[3, 2400], [1500, 2499]]


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
    cells = np.stack([grey_cells(one) for one in [*images, *map(change, images)]])
    pairs = near_duplicates(cells).tolist()
    assert near_duplicates(cells[: len(images)]).tolist() == []
    assert {one - other for one, other in pairs} == {-len(images)}  # each with its own copy alone
    assert len(pairs) == len(images)

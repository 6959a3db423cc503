"""Augmentation: literal draws, each image its own, and the same on the CPU and on a device."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from jsonargparse import ArgumentParser

from carsfg.data.augmentation import DRAWS, RECIPES, Recipe, apply_on_cpu, apply_on_device, describe_recipe, draw
from carsfg.data.augmentation import recipe as find_recipe
from carsfg.errors import InputError

RANDOM = sorted(set(RECIPES) - {"none"})
MIDDLE = np.full((1, DRAWS), 0.5, np.float32)  # nothing shifted, turned or recoloured, and not mirrored


def picture(size: int = 64) -> npt.NDArray[np.uint8]:
    """A smooth picture (1, size, size, 3) that no recipe leaves as it is."""
    y, x = np.mgrid[:size, :size] / size
    return (np.stack([x, y, (x + y) / 2], 2)[None] * 200 + 20).astype(np.uint8)


def with_draws(**values: float) -> npt.NDArray[np.float32]:
    places = ("x", "y", "mirror", "angle", "brightness", "contrast", "saturation", "hue", "zoom")
    uniform = MIDDLE.copy()
    for name, value in values.items():
        uniform[0, places.index(name)] = value
    return uniform


def cpu(recipe: Recipe, uniform: npt.NDArray[np.float32], images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return apply_on_cpu(images, draw(recipe, uniform), images.shape[1])


def test_none_is_no_augmentation() -> None:
    assert find_recipe("none") is None


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="none, crop_flip_rotate, crop_flip_jitter"):
        find_recipe("mixup")


def test_the_middle_of_every_range_changes_nothing() -> None:
    recipe = Recipe(flip=True, degrees=15, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    assert np.abs(cpu(recipe, MIDDLE, picture()).astype(int) - picture()).max() <= 1


def test_mirroring_is_exact() -> None:
    assert np.array_equal(cpu(Recipe(flip=True), with_draws(mirror=0.2), picture()), picture()[:, :, ::-1])


def test_a_crop_is_cut_where_it_was_drawn() -> None:
    """Half of the side from the upper left corner, enlarged: pixel (16, 16) of the result shows place (8, 8)."""
    result = cpu(Recipe(crop=(0.5, 0.5)), with_draws(x=0, y=0), picture())
    assert np.abs(result[0, 16, 16].astype(int) - picture()[0, 8, 8]).max() <= 2
    result = cpu(Recipe(crop=(0.5, 0.5)), with_draws(x=1, y=1), picture())
    assert np.abs(result[0, 47, 47].astype(int) - picture()[0, 55, 55]).max() <= 2


def test_a_zoom_is_drawn_between_its_bounds() -> None:
    recipe = Recipe(crop=(0.5, 1.0))
    for zoom, kept in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        assert np.allclose(draw(recipe, with_draws(zoom=zoom)).geometry[0, :, :2], kept * np.eye(2))
        corner = draw(recipe, with_draws(zoom=zoom, x=1, y=0)).geometry[0, :, 2]
        assert np.allclose(corner, [1 - kept, kept - 1])  # never past the edge


def test_rotation_turns_by_the_drawn_angle() -> None:
    line = np.zeros((1, 65, 65, 3), np.uint8)
    line[:, :, 32] = 255  # upright, through the centre
    result = cpu(Recipe(degrees=15), with_draws(angle=1.0), line)[0, :, :, 0].astype(float)
    columns = np.arange(65)
    top, bottom = ((result[row] * columns).sum() / result[row].sum() for row in (12, 52))
    assert abs(top - bottom) / 40 == pytest.approx(np.tan(np.radians(15)), abs=0.01)


def test_colours_by_hand() -> None:
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 100, 50, 20
    assert cpu(Recipe(brightness=0.2), with_draws(brightness=1.0), image)[0, 0, 0].tolist() == [120, 60, 24]
    grey = round(0.299 * 100 + 0.587 * 50 + 0.114 * 20)  # 62
    assert cpu(Recipe(saturation=1.0), with_draws(saturation=0.0), image)[0, 0, 0].tolist() == [grey] * 3
    assert cpu(Recipe(contrast=1.0), with_draws(contrast=0.0), image)[0, 0, 0].tolist() == [grey] * 3
    turned = cpu(Recipe(hue=0.5), with_draws(hue=1.0), image)[0, 0, 0].astype(float)  # the opposite hue, as light
    assert turned @ (0.299, 0.587, 0.114) == pytest.approx(grey, abs=1)
    assert turned[0] < turned[2]


@pytest.mark.parametrize("name", RANDOM)
def test_cpu_and_device_do_the_same(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe is not None
    uniform = np.random.default_rng(0).random((16, DRAWS), np.float32)
    images = np.repeat(picture(), 16, 0)
    draws = draw(recipe, uniform)
    colour = None if draws.colour is None else torch.from_numpy(draws.colour)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    there = apply_on_device(batch, torch.from_numpy(draws.geometry), colour, 64).permute(0, 2, 3, 1).numpy()
    here = apply_on_cpu(images, draws, 64)
    inside = (slice(None), slice(20, 44), slice(20, 44))  # past the rounding at the black corners' edges
    assert np.abs(here[inside] - there[inside]).max() < 3
    assert np.abs(here - there).mean() < 1


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_has_its_own_draw(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe is not None
    uniform = np.random.default_rng(0).random((8, DRAWS), np.float32)
    results = cpu(recipe, uniform, np.repeat(picture(), 8, 0))
    assert len({result.tobytes() for result in results}) == 8


def test_draws_cover_their_ranges() -> None:
    recipe = RECIPES["crop_flip_rotate"]
    assert recipe is not None
    geometry = draw(recipe, np.random.default_rng(0).random((10_000, DRAWS), np.float32)).geometry
    angles = np.degrees(np.arctan2(geometry[:, 1, 0], geometry[:, 1, 1]))
    assert 14.5 < angles.max() <= 15
    assert -15 <= angles.min() < -14.5
    assert np.linalg.det(geometry[:, :, :2]) == pytest.approx((np.sign(geometry[:, 0, 0])) * (7 / 8) ** 2, abs=1e-5)
    assert (geometry[:, 0, 0] < 0).mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(geometry[:, :, 2]).max() == pytest.approx(1 / 8, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"crop": (0.0, 1.0)}, r"crop is \[0.0, 1.0\]: use two shares"),
        ({"crop": (0.9, 0.5)}, "smallest <= largest"),
        ({"crop": (0.5, 1.1)}, "largest <= 1"),
        ({"degrees": -1}, "degrees is -1: use 0 to 180"),
        ({"hue": 0.6}, "hue is 0.6: use 0 to 0.5"),
        ({"contrast": float("nan")}, "contrast is nan: use 0 to 1"),
    ],
)
def test_ranges_of_a_recipe(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_recipe(Recipe(**values))


def test_a_recipe_is_a_name_or_a_mapping_in_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augment", type=str | Recipe, default="none")
    given = parser.parse_string("augment: {crop: [0.5, 1.0], flip: true}")
    assert parser.instantiate_classes(given).augment == Recipe(crop=(0.5, 1.0), flip=True)
    named = parser.parse_string("augment: crop_flip_rotate")
    assert parser.instantiate_classes(named).augment == "crop_flip_rotate"


def test_equal_recipes_are_described_alike() -> None:
    assert describe_recipe("crop_flip_rotate") == "crop_flip_rotate"
    assert describe_recipe(Recipe(crop=(7 / 8, 7 / 8), flip=True, degrees=15)) == "crop_flip_rotate"
    assert describe_recipe("none") == describe_recipe(Recipe()) == "none"
    assert describe_recipe(Recipe(crop=(0.5, 1.0), flip=True)) == {"crop": [0.5, 1.0], "flip": True}
    assert find_recipe(Recipe()) is None
    assert find_recipe(Recipe(flip=True)) == Recipe(flip=True)

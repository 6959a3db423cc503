"""Augmentation recipes: drawn for each image, reproducible, and leaving the rest of the program's randomness alone."""

import pytest
import torch
from torch import Tensor

from carsfg.data.augment import RECIPES, augment_seeded, build_augment
from carsfg.errors import InputError

RANDOM = sorted(set(RECIPES) - {"none"})


def checkerboard(size: int = 64) -> Tensor:
    """Four flat quadrants of different colours, uint8 (3, size, size)."""
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    half = size // 2
    image[0, :half], image[1, :, :half], image[2, half:, half:] = 200, 150, 250
    return image


def test_none_is_no_augmentation() -> None:
    assert build_augment("none", 64) is None


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="none, crop_flip_rotate, crop_flip_jitter"):
        build_augment("mixup", 64)


@pytest.mark.parametrize("recipe", RANDOM)
def test_images_keep_size_and_type_and_differ_by_seed(recipe: str) -> None:
    augment = build_augment(recipe, 64)
    assert augment is not None
    results = [augment_seeded(augment, checkerboard(), seed) for seed in range(8)]
    assert all(result.shape == (3, 64, 64) and result.dtype == torch.uint8 for result in results)
    assert len({tuple(result.flatten().tolist()) for result in results}) == 8
    assert torch.equal(results[3], augment_seeded(augment, checkerboard(), 3))


@pytest.mark.parametrize("recipe", RANDOM)
def test_the_global_random_state_is_left_alone(recipe: str) -> None:
    augment = build_augment(recipe, 64)
    assert augment is not None
    before = torch.get_rng_state()
    augment_seeded(augment, checkerboard(), 1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("recipe", RANDOM)
def test_about_half_are_mirrored(recipe: str) -> None:
    augment = build_augment(recipe, 64)
    assert augment is not None
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :, :32] = 255  # the left half is bright
    results = [augment_seeded(augment, image, seed).float() for seed in range(200)]
    mirrored = sum(bool(result[:, :, 40:].mean() > result[:, :, :24].mean()) for result in results)
    assert 70 <= mirrored <= 130


def test_only_jitter_changes_colours() -> None:
    grey = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    rotate, jitter = build_augment("crop_flip_rotate", 64), build_augment("crop_flip_jitter", 64)
    assert rotate is not None
    assert jitter is not None
    centre = [int(augment_seeded(rotate, grey, seed)[0, 32, 32]) for seed in range(5)]
    assert centre == [100] * 5
    assert len({int(augment_seeded(jitter, grey, seed)[0, 32, 32]) for seed in range(5)}) > 1


def test_rotation_stays_within_fifteen_degrees() -> None:
    augment = build_augment("crop_flip_rotate", 64)
    assert augment is not None
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :, 31:33] = 255
    tilts = []
    for seed in range(100):
        line = augment_seeded(augment, image, seed)[0].float()
        columns = torch.arange(64.0)
        top, bottom = ((line[row] * columns).sum() / line[row].sum() for row in (16, 48))
        tilts.append(float(torch.rad2deg(torch.atan((top - bottom) / 32)).abs()))
    assert max(tilts) < 16
    assert max(tilts) > 10

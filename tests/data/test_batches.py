"""Batches of crops: what the augmentation of an image depends on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carsfg.data.augmentation import DRAWS, Recipe, draw
from carsfg.data.batches import CropSamples, split_keys
from carsfg.data.box_jitter import BoxJitter
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.seeding import derive_seed

ROWS = np.array([2, 0, 1])


def make_samples(cars: Path, stored: bool = False) -> CropSamples:
    datasets = [StanfordCars(cars, "train"), StanfordCars(cars, "test")]
    caches = [CropCache.open(dataset, 16, cars / "cache") for dataset in datasets]
    return CropSamples(caches, np.array([0, 1, 2, 0]), ROWS, Recipe(crop=(0.5, 1.0), flip=True), stored)


def geometry(cars: Path, seed: int, monkeypatch: pytest.MonkeyPatch, epoch: int = 0, stored: bool = False) -> Any:
    monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
    return make_samples(cars, stored).draws(epoch, np.arange(3)).geometry


def test_a_run_of_another_seed_is_augmented_differently(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for epoch in (0, 3):
        first, again, other = (geometry(cars, seed, monkeypatch, epoch) for seed in (0, 0, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_every_epoch_is_augmented_differently(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not np.array_equal(geometry(cars, 0, monkeypatch), geometry(cars, 0, monkeypatch, epoch=1))


def test_stored_copies_depend_on_neither(cars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = geometry(cars, 0, monkeypatch, stored=True)
    assert np.array_equal(first, geometry(cars, 1, monkeypatch, stored=True))
    assert np.array_equal(first, geometry(cars, 0, monkeypatch, epoch=1, stored=True))


def test_draws_are_those_of_the_seed_and_epoch_with_moving_boxes_too(
    cars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The literal table: a change of it would change all runs."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    plain, moved = make_samples(cars), make_samples(cars)
    moved.jitter = BoxJitter(16, np.array([[-1, -1, 1, 1]] * 4, np.float32), np.zeros((4, 4), np.float32))
    table = np.random.default_rng(derive_seed(5, 2)).random((3, DRAWS), np.float32)
    expected = draw(Recipe(crop=(0.5, 1.0), flip=True), table).geometry
    for samples in (plain, moved):
        assert np.array_equal(samples.draws(2, np.arange(3)).geometry, expected)


def test_targets_are_label_and_place_in_the_split(cars: Path) -> None:
    targets = make_samples(cars).targets(np.array([2, 0]))
    assert {name: values.tolist() for name, values in targets.items()} == {"label": [1, 2], "index": [2, 0]}


def test_keys_with_and_without_an_epoch() -> None:
    for keys, epoch in (([(3, 1), (3, 0)], 3), ([1, 0], 0)):
        found, indices = split_keys(keys)
        assert (found, indices.tolist()) == (epoch, [1, 0])

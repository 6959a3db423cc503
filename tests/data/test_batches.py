"""Batches of crops: what the augmentation of an image depends on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carsfg.data.augmentation import Recipe
from carsfg.data.batches import CropSamples, split_keys
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars

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


def test_targets_are_label_and_place_in_the_split(cars: Path) -> None:
    targets = make_samples(cars).targets(np.array([2, 0]))
    assert {name: values.tolist() for name, values in targets.items()} == {"label": [1, 2], "index": [2, 0]}


def test_keys_with_and_without_an_epoch() -> None:
    for keys, epoch in (([(3, 1), (3, 0)], 3), ([1, 0], 0)):
        found, indices = split_keys(keys)
        assert (found, indices.tolist()) == (epoch, [1, 0])

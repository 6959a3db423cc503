"""Protocols on label lists small enough to check by eye."""

import numpy as np
import pytest

from carsfg.data.splits import Splits, check_splits, holdout, split
from carsfg.errors import InputError

LABELS = np.repeat(np.arange(4), 20)  # four classes of 20 images, rows 0..79
DIGESTS = [f"file {row}" for row in range(80)]
TRAIN = 60  # in cars_train: classes 0, 1, 2; the rest of the tests interleave where it matters


def interleaved() -> np.ndarray:
    """80 labels of 4 classes, each with 15 images in the first 60 rows and 5 in the last 20."""
    return np.tile(np.arange(4), 20)


def test_official_without_validation_is_the_two_folders() -> None:
    splits = split("official", "none", interleaved(), DIGESTS, TRAIN, 0)
    assert splits.train.tolist() == list(range(60))
    assert splits.val is None
    assert splits.test.tolist() == list(range(60, 80))


def test_official_curves_on_test_train_on_all_of_train() -> None:
    splits = split("official", "test", interleaved(), DIGESTS, TRAIN, 0)
    assert splits.train.tolist() == list(range(60))
    assert splits.val is not None
    assert splits.val.tolist() == splits.test.tolist()


def test_a_holdout_is_a_stratified_tenth_of_train() -> None:
    splits = split("official", "holdout", interleaved(), DIGESTS, TRAIN, 0)
    assert splits.val is not None
    assert sorted([*splits.train, *splits.val]) == list(range(60))
    assert np.bincount(interleaved()[splits.val]).tolist() == [2, 2, 2, 2]  # a tenth of 15, rounded to even


def test_the_holdout_depends_on_its_seed_alone() -> None:
    first, again, other = (holdout(LABELS, DIGESTS, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_identical_files_stay_on_one_side() -> None:
    digests = list(DIGESTS)
    digests[1], digests[45] = digests[0], digests[3]
    for seed in range(200):
        held = holdout(LABELS, digests, seed)
        assert not held[[0, 1, 3, 45]].any()


def test_every_class_keeps_a_held_out_image_however_few_it_has() -> None:
    assert holdout(np.array([0, 0, 1, 1, 1]), list("abcde"), 0).sum() == 2


def test_zero_shot_separates_classes() -> None:
    splits = split("zero_shot", "none", interleaved(), DIGESTS, TRAIN, 0)
    assert set(interleaved()[splits.train].tolist()) == {0, 1}
    assert set(interleaved()[splits.test].tolist()) == {2, 3}
    assert len(splits.train) + len(splits.test) == 80


def test_zero_shot_on_the_real_number_of_classes_holds_out_classes_81_to_98() -> None:
    labels = np.repeat(np.arange(196), 2)
    splits = split("zero_shot", "holdout", labels, [str(row) for row in range(392)], 196, 0)
    assert splits.val is not None
    assert sorted(set(labels[splits.val].tolist())) == list(range(80, 98))
    assert sorted(set(labels[splits.train].tolist())) == list(range(80))


def test_the_leak_validates_on_copies_of_training_images() -> None:
    splits = split("seed_leaky", "holdout", interleaved(), DIGESTS, TRAIN, 0)
    assert splits.val is not None
    assert len(splits.val) == 36  # 15 % of 4 x 60 copies
    assert sorted([*splits.train, *splits.val]) == [copy * 80 + row for copy in range(4) for row in range(60)]
    shared = set((splits.val % 80).tolist()) & set((splits.train % 80).tolist())
    assert len(shared) / len(set((splits.val % 80).tolist())) > 0.9  # nearly every validation image was trained on
    assert splits.test.tolist() == list(range(60, 80))


@pytest.mark.parametrize("change", ["membership", "content"])
def test_the_hash_tells_splits_apart(change: str) -> None:
    digests = list(DIGESTS)
    first = split("official", "holdout", interleaved(), digests, TRAIN, 0).hash(digests)
    assert first == split("official", "holdout", interleaved(), digests, TRAIN, 0).hash(digests)
    if change == "content":
        digests[7] = "another file"
    seed = 1 if change == "membership" else 0
    assert first != split("official", "holdout", interleaved(), digests, TRAIN, seed).hash(digests)


def test_the_only_image_of_a_class_is_trained_on() -> None:
    assert holdout(np.array([0, 1, 1]), list("abc"), 0).tolist()[0] is False
    assert holdout(np.array([0, 1, 1]), list("abc"), 0).sum() == 1


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="split_seed -1 is negative: use 0 or more"):
        split("official", "holdout", interleaved(), DIGESTS, TRAIN, -1)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


NAMES = ["Audi", "BMW", "Citroën"]
FEW = np.array([0, 0, 1, 1, 2])


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (Splits(rows(), rows(0), rows(1)), "there is no image to train on: add images"),
        (Splits(rows(0, 1), rows(), rows(1)), "no image to validate on: set data.val: none or add images"),
        (Splits(rows(0, 1), None, rows()), "no image to test on"),
        (Splits(rows(0, 1, 2), rows(3, 4), rows(1, 2, 3)), "3 processes need as many images to validate on, .* are 2"),
    ],
)
def test_splits_without_images_are_refused(splits: Splits, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_splits(splits, FEW, NAMES, processes=3 if splits.train.size == 3 else 1)


def test_classes_without_a_training_image_are_named() -> None:
    assert check_splits(Splits(rows(0, 2, 4), rows(1), rows(3)), FEW, NAMES) == ""
    line = check_splits(Splits(rows(0, 2), rows(1), rows(3)), FEW, NAMES)
    assert line == "1 of 3 classes have no training image: Citroën"
    copies = Splits(rows(5, 7), rows(1), rows(3))  # stored copies of images 0 and 2
    assert check_splits(copies, FEW, NAMES) == line
    many = check_splits(Splits(rows(0), None, rows(3)), FEW, [f"car {one}" for one in range(9)])
    assert many == "8 of 9 classes have no training image: car 1, car 2, car 3, car 4, car 5 and 3 more"

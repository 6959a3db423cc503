"""Protocols on label lists small enough to check by eye."""

import numpy as np
import pytest

from carsfg.data.splits import Splits, check_splits, cluster, holdout, repeated, split
from carsfg.errors import InputError

LABELS = np.repeat(np.arange(4), 20)  # four classes of 20 images, rows 0..79
DIGESTS = [f"file {row}" for row in range(80)]
PARTS = np.repeat(["train", "test"], [60, 20])


def interleaved() -> np.ndarray:
    """80 labels of 4 classes, each with 15 images in the first 60 rows and 5 in the last 20."""
    return np.tile(np.arange(4), 20)


def test_official_without_validation_is_the_two_folders() -> None:
    splits = split("official", "none", interleaved(), DIGESTS, PARTS, 0)
    assert splits.train.tolist() == list(range(60))
    assert splits.val is None
    assert splits.test.tolist() == list(range(60, 80))


def test_official_curves_on_test_train_on_all_of_train() -> None:
    splits = split("official", "test", interleaved(), DIGESTS, PARTS, 0)
    assert splits.train.tolist() == list(range(60))
    assert splits.val is not None
    assert splits.val.tolist() == splits.test.tolist()


def test_a_holdout_is_a_stratified_tenth_of_train() -> None:
    splits = split("official", "holdout", interleaved(), DIGESTS, PARTS, 0)
    assert splits.val is not None
    assert sorted([*splits.train, *splits.val]) == list(range(60))
    assert np.bincount(interleaved()[splits.val]).tolist() == [2, 2, 2, 2]  # a tenth of 15, rounded to even


def test_the_holdout_depends_on_its_seed_alone() -> None:
    first, again, other = (holdout(LABELS, DIGESTS, np.arange(80), seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_identical_files_stay_on_one_side() -> None:
    digests = list(DIGESTS)
    digests[1], digests[45] = digests[0], digests[3]  # of one class, and of two classes
    marked = [holdout(LABELS, digests, cluster(digests), seed) for seed in range(200)]
    assert all(held[0] == held[1] for held in marked)
    assert any(held[0] for held in marked)
    assert not any(held[[3, 45]].any() for held in marked)  # a class would lose an image that another class keeps
    assert all(np.bincount(LABELS[held]).tolist() == [2, 2, 2, 2] for held in marked)


def test_the_holdout_follows_the_files_whatever_their_order_and_the_names_of_classes() -> None:
    held = {DIGESTS[row] for row in np.flatnonzero(holdout(LABELS, DIGESTS, np.arange(80), 0))}
    order = np.random.default_rng(1).permutation(80)
    digests = [DIGESTS[row] for row in order.tolist()]
    again = holdout(3 - LABELS[order], digests, cluster(digests), 0)
    assert {digests[row] for row in np.flatnonzero(again)} == held


def test_more_images_move_few_of_the_others() -> None:
    labels, digests = np.zeros(100, np.int64), [f"file {row}" for row in range(110)]
    before = holdout(labels, digests[:100], np.arange(100), 0)
    after = holdout(np.zeros(110, np.int64), digests, np.arange(110), 0)
    assert (before.sum(), after.sum()) == (10, 11)
    assert (before & after[:100]).sum() >= 8


def test_whole_groups_are_held_out() -> None:
    groups = [f"car {row // 4}" for row in range(80)]  # 5 groups of 4 in each class
    held = holdout(LABELS, DIGESTS, cluster(DIGESTS, groups), 0, share=0.2)
    assert np.bincount(LABELS[held]).tolist() == [4, 4, 4, 4]
    assert held.reshape(20, 4).all(axis=1).sum() == held.reshape(20, 4).any(axis=1).sum() == 4


def test_a_group_larger_than_the_share_is_held_out_if_there_is_no_smaller_one() -> None:
    labels, groups = np.zeros(9, np.int64), ["a"] * 5 + ["b"] * 4
    assert (
        holdout(labels, list("abcdefghi"), cluster(list("abcdefghi"), groups), 0).tolist() == [False] * 5 + [True] * 4
    )


def test_a_class_of_one_group_is_trained_on() -> None:
    assert not holdout(np.zeros(3, np.int64), list("abc"), np.zeros(3, np.int64), 0).any()


def test_clusters_by_files_groups_and_near_duplicates() -> None:
    digests = ["x", "y", "x", "z", "w", "v"]
    assert cluster(digests).tolist() == [0, 1, 0, 2, 3, 4]
    assert cluster(digests, ["", "g", "", "g", "", ""]).tolist() == [0, 1, 0, 1, 2, 3]
    linked = cluster(digests, ["", "g", "", "g", "", ""], np.array([[2, 3], [4, 5]]))  # 0 = 2 ~ 3 = 1 by the group
    assert linked.tolist() == [0, 0, 0, 0, 1, 1]


def test_repeated_names() -> None:
    assert repeated(["b", "a", "b", "", "a", "b", "", "c"]) == [[0, 2, 5], [1, 4]]
    assert repeated([]) == []


def test_a_given_validation_split_is_the_holdout() -> None:
    parts = np.array(["train", "val", "test", "train", "gallery", "train"])
    labels, digests = np.array([0, 0, 0, 1, 1, 1]), list("abcdef")
    held = split("official", "holdout", labels, digests, parts, 0)
    assert held.val is not None
    assert (held.train.tolist(), held.val.tolist(), held.test.tolist()) == ([0, 3, 5], [1], [2])
    whole = split("official", "none", labels, digests, parts, 0)
    assert (whole.train.tolist(), whole.val, whole.test.tolist()) == ([0, 1, 3, 5], None, [2])
    other = split("zero_shot", "none", labels, digests, parts, 0)
    assert (other.train.tolist(), other.test.tolist()) == ([0, 1, 2], [3, 5])  # the gallery's image is in no split


def test_every_class_keeps_a_held_out_image_however_few_it_has() -> None:
    assert holdout(np.array([0, 0, 1, 1, 1]), list("abcde"), np.arange(5), 0).sum() == 2


def test_zero_shot_separates_classes() -> None:
    splits = split("zero_shot", "none", interleaved(), DIGESTS, PARTS, 0)
    assert set(interleaved()[splits.train].tolist()) == {0, 1}
    assert set(interleaved()[splits.test].tolist()) == {2, 3}
    assert len(splits.train) + len(splits.test) == 80


def test_zero_shot_on_the_real_number_of_classes_holds_out_classes_81_to_98() -> None:
    labels = np.repeat(np.arange(196), 2)
    splits = split(
        "zero_shot", "holdout", labels, [str(row) for row in range(392)], np.repeat(["train", "test"], 196), 0
    )
    assert splits.val is not None
    assert sorted(set(labels[splits.val].tolist())) == list(range(80, 98))
    assert sorted(set(labels[splits.train].tolist())) == list(range(80))


def test_the_leak_validates_on_copies_of_training_images() -> None:
    splits = split("seed_leaky", "holdout", interleaved(), DIGESTS, PARTS, 0)
    assert splits.val is not None
    assert len(splits.val) == 36  # 15 % of 4 x 60 copies
    assert sorted([*splits.train, *splits.val]) == [copy * 80 + row for copy in range(4) for row in range(60)]
    shared = set((splits.val % 80).tolist()) & set((splits.train % 80).tolist())
    assert len(shared) / len(set((splits.val % 80).tolist())) > 0.9  # nearly every validation image was trained on
    assert splits.test.tolist() == list(range(60, 80))


@pytest.mark.parametrize("change", ["membership", "content"])
def test_the_hash_tells_splits_apart(change: str) -> None:
    digests, labels = list(DIGESTS), interleaved()
    first = split("official", "holdout", labels, digests, PARTS, 0).hash(digests, labels)
    assert first == split("official", "holdout", labels, digests, PARTS, 0).hash(digests, labels)
    if change == "content":
        digests[7] = "another file"
    seed = 1 if change == "membership" else 0
    assert first != split("official", "holdout", labels, digests, PARTS, seed).hash(digests, labels)


def test_the_hash_tells_classes_apart_with_equal_members() -> None:
    splits = split("official", "none", interleaved(), DIGESTS, PARTS, 0)
    other = interleaved()
    other[[0, 1]] = other[[1, 0]]
    assert splits.hash(DIGESTS, interleaved()) != splits.hash(DIGESTS, other)


def test_the_hash_is_that_of_the_same_files_in_another_order_with_other_class_names() -> None:
    order, labels = np.random.default_rng(0).permutation(80), interleaved()
    first = split("official", "holdout", labels, DIGESTS, PARTS, 0).hash(DIGESTS, labels)
    digests, other = [DIGESTS[row] for row in order.tolist()], (labels[order] + 1) % 4
    assert split("official", "holdout", other, digests, PARTS[order], 0).hash(digests, other) == first


def test_the_only_image_of_a_class_is_trained_on() -> None:
    assert holdout(np.array([0, 1, 1]), list("abc"), np.arange(3), 0).tolist()[0] is False
    assert holdout(np.array([0, 1, 1]), list("abc"), np.arange(3), 0).sum() == 1


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="split_seed -1 is negative: use 0 or more"):
        split("official", "holdout", interleaved(), DIGESTS, PARTS, -1)


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

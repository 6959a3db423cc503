"""Splits of photos on lists that are small enough to check by eye."""

from pathlib import Path

import numpy as np
import pytest
import torch

from carsfg.data.photo_splits import (
    assign_test,
    check_leaks,
    describe_clusters,
    given_parts,
    leave_out_small_classes,
)
from carsfg.data.sources.source import ImageSource
from carsfg.data.splits import cluster
from carsfg.errors import InputError


def source(labels: list[int], names: list[str]) -> ImageSource:
    paths = [Path(f"/photos/{names[label]}/{row}.jpg") for row, label in enumerate(labels)]
    return ImageSource(Path("/photos"), paths, torch.tensor(labels), names)


def test_a_fifth_of_each_class_is_tested() -> None:
    labels = np.repeat([0, 1, 2], [20, 10, 4])
    digests = [f"file {row}" for row in range(34)]
    parts = assign_test(labels, digests, np.arange(34), 0)
    assert [(parts[labels == label] == "test").sum() for label in range(3)] == [4, 2, 1]
    assert set(parts.tolist()) == {"train", "test"}
    assert parts.tolist() != assign_test(labels, digests, np.arange(34), 1).tolist()


def test_a_group_and_a_near_duplicate_are_never_separated() -> None:
    labels, digests = np.repeat([0, 1], 10), [f"file {row}" for row in range(20)]
    groups = ["", "", "car", "car", *[""] * 16]
    clusters = cluster(digests, groups, np.array([[10, 11], [11, 15]]))
    for seed in range(50):
        parts = assign_test(labels, digests, clusters, seed)
        assert parts[2] == parts[3]
        assert len({*parts[[10, 11, 15]].tolist()}) == 1
    line = "5 images stay together in 2 sets (3 near duplicates, 2 of a group)"
    assert describe_clusters(digests, groups, np.array([[10, 11], [11, 15]]), clusters) == [line]
    assert describe_clusters(digests, None, np.empty((0, 2), np.int64), np.arange(20)) == []


def test_small_classes_are_left_out_and_named() -> None:
    kept, learned, line = leave_out_small_classes(source([1, 0, 1, 2, 3, 3], ["a", "b", "c", "d"]), 2, keep=False)
    assert (kept.class_names, learned) == (["b", "d"], 2)
    assert kept.labels.tolist() == [0, 0, 1, 1]
    assert [kept.name(row) for row in range(4)] == ["b/0.jpg", "b/2.jpg", "d/4.jpg", "d/5.jpg"]
    assert line == "2 classes have fewer than 2 images, left out: a, c"


def test_small_classes_are_kept_as_the_last_ones() -> None:
    kept, learned, line = leave_out_small_classes(source([1, 0, 1, 2, 3, 3], ["a", "b", "c", "d"]), 2, keep=True)
    assert (kept.class_names, learned) == (["b", "d", "a", "c"], 2)
    assert kept.labels.tolist() == [0, 2, 0, 3, 1, 1]
    assert line == "2 classes have fewer than 2 images, kept in the gallery only: a, c"


def test_one_class_is_not_enough() -> None:
    with pytest.raises(InputError, match="has 1 class with 3 or more images, but a network learns at least 2"):
        leave_out_small_classes(source([0, 0, 0, 1, 1], ["a", "b"]), 3, keep=True)


def test_given_parts() -> None:
    parts, said = given_parts(["train", "val", "test"])
    assert (parts.tolist(), said) == (["train", "val", "test"], [])
    parts, said = given_parts(["train", "val", "val"])
    assert parts.tolist() == ["train", "test", "test"]
    assert said == ["no test split is given: 'val' is used as the test split, and 10 % of 'train' for validation"]
    with pytest.raises(InputError, match="no image is in the split 'train'"):
        given_parts(["val", "test"])
    with pytest.raises(InputError, match="the splits have no 'test' and no 'val'"):
        given_parts(["train"])


def test_leaks_between_given_splits() -> None:
    found, parts = source([0, 0, 0, 1, 1, 1], ["a", "b"]), np.array(["train", "test", "val", "train", "train", "test"])
    assert check_leaks(found, parts, np.array([0, 1, 2, 3, 3, 4]), allowed=False) == 0
    clusters = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(
        InputError, match=r"^2 sets of byte-identical files or images of a group in two splits, such as a/"
    ):
        check_leaks(found, parts, clusters, allowed=False)
    assert check_leaks(found, parts, clusters, allowed=True) == 2

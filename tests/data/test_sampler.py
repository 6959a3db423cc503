"""The order of the images over epochs and processes."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from carsfg.data.sampler import EpochSampler, balanced_order
from carsfg.errors import InputError


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> int:
        return index


def indices(epoch: int = 0, **arguments: Any) -> list[int]:
    sampler = EpochSampler(Numbers(), **arguments)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    assert {e for e, _ in drawn} == {epoch}
    return [index for _, index in drawn]


def test_evaluation_goes_through_in_order() -> None:
    assert indices(shuffle=False) == list(range(11))


def test_shuffling_changes_with_epoch_and_seed_and_repeats() -> None:
    first = indices(shuffle=True)
    assert sorted(first) == list(range(11))
    assert first == indices(shuffle=True)
    assert first != indices(1, shuffle=True)
    assert first != indices(shuffle=True, seed=1)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_evaluation_gives_each_image_to_exactly_one_process(world: int) -> None:
    shares = [indices(shuffle=False, rank=rank, world_size=world) for rank in range(world)]
    assert sorted(chain(*shares)) == list(range(11))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_training_gives_each_process_equally_many(world: int) -> None:
    shares = [indices(shuffle=True, rank=rank, world_size=world) for rank in range(world)]
    assert {len(share) for share in shares} == {11 // world}
    assert len(set(chain(*shares))) == world * (11 // world)


PINNED = [8, 7, 10, 9, 9, 10, 7, 8]
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3])


def test_balanced_batches_hold_as_many_images_of_each_of_their_classes() -> None:
    order = indices(shuffle=True, balanced=(LABELS, 2, 4))
    assert len(order) == 8  # two whole batches of the 11 images
    for batch in (order[:4], order[4:]):
        assert sorted(Counter(LABELS[batch].tolist()).values()) == [2, 2]
        assert len(set(batch)) == 4
    assert order == indices(shuffle=True, balanced=(LABELS, 2, 4))
    assert order != indices(1, shuffle=True, balanced=(LABELS, 2, 4))


def test_balanced_batches_stay_whole_on_two_processes() -> None:
    shares = [indices(shuffle=True, balanced=(LABELS, 2, 4), rank=rank, world_size=2) for rank in (0, 1)]
    whole = indices(shuffle=True, balanced=(LABELS, 2, 4))
    assert shares == [whole[:4], whole[4:]]
    assert all(sorted(Counter(LABELS[share].tolist()).values()) == [2, 2] for share in shares)


@pytest.mark.parametrize(("a_class", "a_batch"), [(3, 4), (2, 10)])
def test_batches_that_cannot_be_balanced(a_class: int, a_batch: int) -> None:
    with pytest.raises(InputError, match=rf"images_per_class {a_class} does not go into batches of {a_batch} with 4"):
        indices(shuffle=True, balanced=(LABELS, a_class, a_batch))


def test_images_of_a_class_come_again_only_after_all_others() -> None:
    labels = np.repeat(np.arange(4), 50)  # 25 batches of 2 x 2 images: each class is drawn about 12 times
    order = balanced_order(labels, 2, 4, seed=0)
    assert len(order) == 200
    for label in range(4):
        own = order[labels[order] == label]
        for start in range(0, len(own) - 49, 50):
            assert len(set(own[start : start + 50].tolist())) == 50


def test_processes_share_no_image_while_the_classes_have_enough() -> None:
    labels = np.arange(40) % 20  # 5 batches of 4 classes with 2 images: most classes are drawn at most once
    counts = Counter(balanced_order(labels, 2, 8, seed=0).tolist())
    drawn = Counter(labels[list(counts.elements())].tolist())
    assert all(counts[image] == drawn[labels[image]] // 2 for image in counts)


def test_a_class_of_too_few_images_is_repeated() -> None:
    labels = np.array([0, 1, 1, 1, 1, 1, 1, 1])
    order = balanced_order(labels, 3, 6, seed=0)
    assert Counter(labels[order].tolist()) == {0: 3, 1: 3}
    assert order[labels[order] == 0].tolist() == [0, 0, 0]


def test_these_are_the_batches() -> None:
    """Pinned: a run that is resumed by another version must see the same batches."""
    assert balanced_order(LABELS, 2, 4, seed=7).tolist() == PINNED


def test_all_classes_are_drawn_about_equally_often() -> None:
    labels = np.repeat(np.arange(4), [400, 200, 100, 100])
    counts = Counter(labels[balanced_order(labels, 2, 4, seed=0)].tolist())
    assert all(150 < counts[label] < 250 for label in range(4))

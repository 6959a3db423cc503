"""The order of the images over epochs and processes."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from carsfg.data.sampler import EpochSampler, balanced_order, class_balanced_order
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


@pytest.mark.parametrize("arguments", [{}, {"world_size": 2, "rank": 1}])
def test_an_interrupted_epoch_goes_on_with_what_is_left_of_its_order(arguments: dict[str, Any]) -> None:
    whole, done = indices(2, shuffle=True, **arguments), 0
    sampler = EpochSampler(Numbers(), shuffle=True, count_done=lambda: done, **arguments)
    sampler.set_epoch(2)
    drawn, done = iter(sampler), 3  # as late as the first image is asked for
    assert list(drawn) == [(2, index) for index in whole[3:]]
    assert len(sampler) == len(whole)


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
PINNED_CLASSES = [10, 8, 7, 9, 7, 10, 9, 0]
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


IMBALANCED = np.repeat(np.arange(3), [90, 9, 1])


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    order = class_balanced_order(IMBALANCED, 3000, seed=0)
    assert order.shape == (3000,)
    counts = Counter(IMBALANCED[order].tolist())
    assert all(900 < counts[label] < 1100 for label in range(3))  # 1000 each, within four standard deviations of 26
    assert order.tolist() == class_balanced_order(IMBALANCED, 3000, seed=0).tolist()
    assert order.tolist() != class_balanced_order(IMBALANCED, 3000, seed=1).tolist()


def test_an_image_is_repeated_only_after_all_others_of_its_class() -> None:
    order = class_balanced_order(IMBALANCED, 300, seed=0)
    for label, images in ((0, 90), (1, 9), (2, 1)):
        own = order[IMBALANCED[order] == label].tolist()
        rounds = [own[start : start + images] for start in range(0, len(own), images)]
        assert all(len(set(one)) == len(one) for one in rounds)
    first, second = (order[IMBALANCED[order] == 1][start : start + 9].tolist() for start in (0, 9))
    assert sorted(first) == sorted(second)
    assert first != second  # each round is shuffled


def test_classes_come_in_no_order_and_those_without_images_never() -> None:
    labels = np.repeat([5, 2], [30, 30])
    drawn = labels[class_balanced_order(labels, 40, seed=0)]
    assert set(drawn.tolist()) == {2, 5}
    assert 10 < np.count_nonzero(np.diff(drawn)) < 30  # changes of the class between neighbours, 19.5 by chance


def test_a_class_that_is_not_drawn() -> None:
    labels = np.arange(50)
    order = class_balanced_order(labels, 3, seed=0)
    assert len(order) == 3
    assert class_balanced_order(labels, 0, seed=0).tolist() == []


@pytest.mark.parametrize("world", [2, 3])
def test_processes_take_turns_in_one_class_balanced_order(world: int) -> None:
    whole = indices(shuffle=True, class_balanced=LABELS)
    assert len(whole) == 11
    shares = [indices(shuffle=True, class_balanced=LABELS, rank=rank, world_size=world) for rank in range(world)]
    assert shares == [whole[rank::world][: 11 // world] for rank in range(world)]
    assert whole != indices(1, shuffle=True, class_balanced=LABELS)


def test_an_evaluation_is_never_class_balanced() -> None:
    assert indices(shuffle=False, class_balanced=LABELS) == list(range(11))


def test_both_ways_to_balance() -> None:
    with pytest.raises(InputError, match=r"images_per_class draws all classes equally often already"):
        indices(shuffle=True, balanced=(LABELS, 2, 4), class_balanced=LABELS)


def test_this_is_the_class_balanced_order() -> None:
    """Pinned, for resumed runs."""
    assert class_balanced_order(LABELS, 8, seed=7).tolist() == PINNED_CLASSES

"""The order of the images over epochs and processes."""

from collections import Counter
from itertools import chain
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from carsfg.data.sampler import EpochSampler
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

"""The order of the images over epochs and processes."""

from itertools import chain
from typing import Any

import pytest
from torch.utils.data import Dataset

from carsfg.data.sampler import EpochSampler


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

"""The order of the images, the same whatever the number of workers, and after a resume."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from carsfg.seeding import derive_seed


class EpochSampler(DistributedSampler[Any]):
    """Yields `(epoch, index)`, so that a data set can draw its augmentation from the epoch and the image alone.

    It is a `DistributedSampler` for Lightning to leave it in place. In training each process gets equally many images
    (the last few of the shuffled order are left out); in evaluation none is repeated, so none counts twice.

    Args:
        dataset: what to draw from.
        shuffle: a new order every epoch; else the data set's.
        seed: of the order.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, dataset: Dataset[Any], shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed, drop_last=shuffle)
        self.count = len(dataset)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if self.shuffle:
            order = np.random.default_rng(derive_seed(self.seed, self.epoch)).permutation(self.count)
        else:
            order = np.arange(self.count)
        for index in order[self.rank :: self.num_replicas][: len(self)].tolist():
            yield self.epoch, index

    def __len__(self) -> int:
        if self.shuffle:
            return self.count // self.num_replicas
        return (self.count - self.rank + self.num_replicas - 1) // self.num_replicas

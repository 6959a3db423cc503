"""The order of the images, the same whatever the number of workers, and after a resume."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, DistributedSampler

from carsfg.errors import InputError
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
        balanced: labels (N,), images a class and images a batch: every batch of every process then holds so many images
            of each of its classes, as metric-learning losses want it, which each process computes by itself. Source:
            `MPerClassSampler` of pytorch-metric-learning, which draws them.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        balanced: tuple[npt.NDArray[np.int64], int, int] | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed, drop_last=shuffle)
        self.count = len(dataset)  # type: ignore[arg-type]
        self.balanced = balanced

    @property
    def _together(self) -> int:
        """How many images in a row stay on one process: balanced batches stay whole."""
        return self.balanced[2] if self.shuffle and self.balanced else 1

    def __iter__(self) -> Iterator[Any]:
        if self.shuffle and self.balanced:
            order = _balanced_order(*self.balanced, derive_seed(self.seed, self.epoch))
        elif self.shuffle:
            order = np.random.default_rng(derive_seed(self.seed, self.epoch)).permutation(self.count)
        else:
            order = np.arange(self.count)
        batch = self._together
        own = order[: len(order) // batch * batch].reshape(-1, batch)[self.rank :: self.num_replicas].flatten()
        for index in own[: len(self)].tolist():
            yield self.epoch, index

    def __len__(self) -> int:
        if self.shuffle:
            return self.count // (self._together * self.num_replicas) * self._together
        return (self.count - self.rank + self.num_replicas - 1) // self.num_replicas


def _balanced_order(labels: npt.NDArray[np.int64], a_class: int, a_batch: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw whole batches of so many images a class, about as many images in all as there are."""
    try:
        from pytorch_metric_learning.samplers import MPerClassSampler
        from pytorch_metric_learning.utils import common_functions
    except ImportError:
        raise InputError("data.images_per_class needs pytorch-metric-learning: pip install 'carsfg[metric]'") from None
    try:
        sampler = MPerClassSampler(labels, a_class, a_batch, length_before_new_iter=len(labels))
    except AssertionError:
        raise InputError(
            f"data.images_per_class {a_class} does not go into batches of {a_batch} with {len(set(labels))} classes: "
            "a batch must be a multiple of it, and no larger than it times the classes"
        ) from None
    common_functions.NUMPY_RANDOM = np.random.RandomState(seed % 2**32)  # where that library draws from
    return np.fromiter(sampler, np.int64)

"""The order of the images: equal for any number of workers, and after a resume."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset, DistributedSampler

from carsfg.data.splits import Rows
from carsfg.errors import InputError
from carsfg.seeding import derive_seed


class EpochSampler(DistributedSampler[Any]):
    """Yields `(epoch, index)`, so that a data set can draw its augmentation from epoch and image alone.

    Subclasses DistributedSampler so that Lightning does not replace it. In training every process gets the same number
    of images (the last few of the shuffled order are left out); in evaluation no image is repeated, so none counts
    twice.

    Args:
        dataset: data set to draw from.
        shuffle: draw a new order every epoch; False keeps the order of the data set.
        seed: seed of the order, 0 or more.
        rank: number of this process, from 0.
        world_size: number of processes.
        balanced: labels (N,), images per class and images per batch: every batch then holds that number of images of
            each of its classes, as metric-learning losses need it; see `balanced_order`. Only if `shuffle` is set.
        class_balanced: labels (N,), to draw every class about equally often, so that an epoch of N images repeats those
            of rare classes and leaves some of common ones out; see `class_balanced_order`. Only if `shuffle` is set.
        count_done: gives the number of images that this process has had of the epoch before a resume; they are left
            out. None: none. The length stays that of the whole epoch.

    Raises:
        InputError: both `balanced` and `class_balanced` are given.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        balanced: tuple[Rows, int, int] | None = None,
        class_balanced: Rows | None = None,
        count_done: Callable[[], int] | None = None,
    ) -> None:
        if balanced is not None and class_balanced is not None:
            raise InputError(
                "data.images_per_class draws all classes equally often already: set data.sampling: shuffle"
            )
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed, drop_last=shuffle)
        self.count = len(dataset)  # type: ignore[arg-type]
        self.balanced, self.class_balanced = (balanced, class_balanced) if shuffle else (None, None)
        self.count_done = count_done

    @property
    def _block_size(self) -> int:
        """Number of consecutive images that stay on one process: balanced batches stay whole."""
        return self.balanced[2] if self.balanced else 1

    def __iter__(self) -> Iterator[Any]:
        if self.balanced:
            order = balanced_order(*self.balanced, derive_seed(self.seed, self.epoch))
        elif self.class_balanced is not None:
            order = class_balanced_order(self.class_balanced, self.count, derive_seed(self.seed, self.epoch))
        elif self.shuffle:
            order = np.random.default_rng(derive_seed(self.seed, self.epoch)).permutation(self.count)
        else:
            order = np.arange(self.count)
        batch = self._block_size
        own = order[: len(order) // batch * batch].reshape(-1, batch)[self.rank :: self.num_replicas].flatten()
        done = self.count_done() if self.count_done else 0
        for index in own[done : len(self)].tolist():
            yield self.epoch, index

    def __len__(self) -> int:
        if self.shuffle:
            return self.count // (self._block_size * self.num_replicas) * self._block_size
        return (self.count - self.rank + self.num_replicas - 1) // self.num_replicas


def balanced_order(labels: Rows, per_class: int, per_batch: int, seed: int) -> Rows:
    """Draw batches of `per_batch` images that hold `per_class` images of each of their classes.

    The classes of a batch are sampled without repetition, with equal chances. The images of a class are taken in
    shuffled rounds, `per_class` at a time: no image is repeated within a round. Images that are left over at the end of
    a round, fewer than `per_class`, are not used in it, so an image may be repeated before all of its class were used.
    A class of fewer than `per_class` images is repeated within the batch.

    Args:
        labels: int64 (N,).
        per_class: images per class in a batch, 1 or more.
        per_batch: images per batch, a multiple of `per_class`.
        seed: decides the order.

    Returns:
        int64 (N // per_batch * per_batch,), places in `labels`, batch after batch.

    Raises:
        InputError: the numbers do not fit together or with the number of classes.
    """
    classes = np.unique(labels)
    if per_class < 1 or per_batch % per_class or per_batch > per_class * len(classes):
        raise InputError(
            f"data.images_per_class {per_class} does not go into batches of {per_batch} with {len(classes)} classes: "
            "the batch size must be a multiple of it, and at most its product with the number of classes"
        )
    random = np.random.default_rng(seed)
    rounds = {label: _rounds(np.flatnonzero(labels == label), per_class, random) for label in classes.tolist()}
    order = [
        next(rounds[label])
        for _ in range(len(labels) // per_batch)
        for label in random.choice(classes, per_batch // per_class, replace=False).tolist()
    ]
    return np.concatenate(order) if order else np.empty(0, np.int64)


def class_balanced_order(labels: Rows, count: int, seed: int) -> Rows:
    """Draw images so that each class has the same chance at every place.

    The images of a class are drawn in shuffled rounds: none is repeated before all were drawn.

    Args:
        labels: int64 (N,); classes without an image are not drawn.
        count: number of images in the order.
        seed: decides the order.

    Returns:
        int64 (count,), places in `labels`.
    """
    random = np.random.default_rng(seed)
    classes = np.unique(labels)
    drawn = random.choice(classes, count)
    order = np.empty(count, np.int64)
    for label in classes.tolist():
        own, where = np.flatnonzero(labels == label), np.flatnonzero(drawn == label)
        rounds = [random.permutation(own) for _ in range(-(-len(where) // len(own)))]
        order[where] = np.concatenate([own[:0], *rounds])[: len(where)]
    return order


def _rounds(own: Rows, count: int, random: np.random.Generator) -> Iterator[Rows]:
    """Yield `count` images of one class at a time, without end; what is left over at the end of a round is dropped."""
    if len(own) < count:
        while True:
            yield np.resize(random.permutation(own), count)
    while True:
        shuffled = random.permutation(own)
        for start in range(0, len(own) - count + 1, count):
            yield shuffled[start : start + count]

"""Batches of a DataModule that is not carsfg's own, as `carsfg evaluate` needs them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from carsfg.data.batches import Batch
from carsfg.errors import InputError


def testing_loader(data: LightningDataModule) -> Any:
    """Return the first test loader, or None if the DataModule has none.

    Args:
        data: set up for a test.
    """
    return _first(data.test_dataloader()) if _has(data, "test_dataloader") else None


def training_loader(data: LightningDataModule) -> Any:
    """Return the training loader without shuffling and with its last batch, or None if the DataModule has none.

    Args:
        data: set up for a test; it is set up for a fit as well.
    """
    if not _has(data, "train_dataloader"):
        return None
    data.setup("fit")
    loader = _first(data.train_dataloader())
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size or 1,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
    )


def labelled_batches(loader: Iterable[Any], class_names: Sequence[str]) -> Iterator[Batch]:
    """Yield batches with `index`, the image's position in the order of the loader.

    Args:
        loader: of batches with `image` and `label`.
        class_names: learned classes in label order.

    Raises:
        InputError: a batch is not a dict with these keys, or a label is not a class of the network.
    """
    count = 0
    for batch in loader:
        if not isinstance(batch, dict) or not {"image", "label"} <= batch.keys():
            given = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise InputError(f"a batch must be a dict with 'image' and 'label', not {given}")
        labels = batch["label"]
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            raise InputError(f"a label is {int(labels.max())}, the network knows {len(class_names)} classes")
        yield {**batch, "index": torch.arange(count, count + len(labels))}
        count += len(labels)


def _has(data: LightningDataModule, name: str) -> bool:
    return getattr(type(data), name) is not getattr(LightningDataModule, name)


def _first(loaders: Any) -> Any:
    return loaders[0] if isinstance(loaders, list | tuple) else loaders

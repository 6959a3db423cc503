"""A checkpoint beside the data it is scored on: whether they fit, and the embeddings of all images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule

from carsfg.data.crop_cache import duplicates
from carsfg.data.datamodule import CarsDataModule
from carsfg.data.splits import holdout
from carsfg.errors import InputError
from carsfg.evaluation.embed import embed
from carsfg.evaluation.loaders import labelled_batches, testing_loader, training_loader
from carsfg.evaluation.scores import Images
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import check_classes, read_checkpoint


@dataclass
class Subject:
    """A trained network with its data.

    Attributes:
        task: the network, in eval mode.
        data: DataModule that was set up for a test.
        duplicates: number of images with a byte-identical file elsewhere, by part of the data, once the images are
            embedded; empty if the files are not known.
    """

    task: CarsTask
    data: LightningDataModule
    duplicates: dict[str, int] = field(default_factory=dict)

    @classmethod
    def prepare(cls, task: CarsTask, data: LightningDataModule, path: str | Path) -> "Subject":
        """Set the data up, and check that the network fits it.

        Args:
            task: the network, in eval mode.
            data: DataModule, not set up yet.
            path: file of the checkpoint, for messages.

        Raises:
            InputError: the data is missing, the network knows other classes, or it is called zero-shot but began in a
                checkpoint that had learned the classes it is tested with.
        """
        names = getattr(data, "class_names", None)
        if names is not None:
            check_classes(task.class_names, names)
        if getattr(data, "protocol", None) == "zero_shot":
            _check_start(task, list(names or []), path)
        data.prepare_data()
        data.setup("test")
        return cls(task, data)

    @property
    def protocol(self) -> str:
        """Protocol of the data; `official` for a DataModule without one."""
        return str(getattr(self.data, "protocol", "official"))

    @property
    def unknown_start(self) -> str | None:
        """Name of the checkpoint that the training started from, if the file does not exist any more."""
        start = self.task.hparams["init_from"]
        return Path(start).name if start is not None and not Path(start).is_file() else None

    def describe_data(self) -> dict[str, Any]:
        """Return what identifies the data, as plain values; only the name for a DataModule that does not tell more."""
        describe = getattr(self.data, "describe", None)
        return dict(describe()) if describe is not None else {"name": type(self.data).__name__}

    def images(self, bfloat16: bool = False, track: Any = iter) -> tuple[Images | None, Images]:
        """Embed all images of train and test.

        Args:
            bfloat16: use bfloat16 autocast.
            track: wraps the loader, to show progress.

        Returns:
            Training images, or None if a zero-shot network is scored or the DataModule has none; test images.
        """
        if not isinstance(self.data, CarsDataModule):
            return self._loaded_images(bfloat16, track)
        data = self.data
        digests = [digest for cache in data.caches for digest in cache.digests]
        first = len(data.caches[0])
        duplicate, held = torch.zeros(2, len(digests), dtype=torch.bool)
        duplicate[[row for group in duplicates(digests) for row in group]] = True
        held[:first] = torch.from_numpy(holdout(data.labels[:first], digests[:first], data.split_seed))
        if data.protocol == "zero_shot":
            rows, loader = data.splits.test, track(data.test_dataloader()[0])
            self.duplicates = {"the second half": int(duplicate[rows].sum())}
            return None, Images(*embed(self.task, loader, bfloat16), duplicate[rows], held[rows])
        self.duplicates = {"cars_train": int(duplicate[:first].sum()), "cars_test": int(duplicate[first:].sum())}
        everything = Images(*embed(self.task, track(data.every_image_dataloader()), bfloat16), duplicate, held)
        return everything.take(slice(first)), everything.take(slice(first, None))

    def _loaded_images(self, bfloat16: bool, track: Any) -> tuple[Images | None, Images]:
        """Embed what the loaders of a user's own DataModule give; which files are duplicates is not known."""
        found: list[Images | None] = []
        for loader in (training_loader(self.data), testing_loader(self.data)):
            if loader is None:
                found.append(None)
                continue
            embedded, predicted = embed(self.task, labelled_batches(track(loader), self.task.class_names), bfloat16)
            labels = embedded.labels.numpy()
            held = torch.from_numpy(holdout(labels, _distinct(len(labels)), seed=0))
            found.append(Images(embedded, predicted, torch.zeros(len(labels), dtype=torch.bool), held))
        train, test = found
        if test is None:
            raise InputError(f"{type(self.data).__name__} has no test_dataloader, so there is nothing to score")
        return train, test


def _distinct(count: int) -> Sequence[str]:
    return [str(number) for number in range(count)]


def _check_start(task: CarsTask, names: list[str], path: str | Path) -> None:
    """Follow `init_from` as far as the checkpoints exist.

    Raises:
        InputError: one of them knows other classes.
    """
    seen: set[str] = set()
    start = task.hparams["init_from"]
    while start is not None and start not in seen and Path(start).is_file():
        seen.add(start)
        known = read_checkpoint(start)["hyper_parameters"]
        if not set(known["class_names"]) <= set(names):
            raise InputError(
                f"{path} was trained under zero_shot, but began in {Path(start).name}, which knows "
                f"{len(known['class_names'])} classes, some of them to be tested: no protocol applies"
            )
        start = known.get("init_from")

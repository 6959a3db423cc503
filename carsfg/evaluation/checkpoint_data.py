"""A checkpoint beside the data it is scored on: whether they fit, and the embeddings of all images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule

from carsfg.data.datamodule import CarsDataModule
from carsfg.data.sources.source import same_classes
from carsfg.data.splits import holdout, repeated
from carsfg.errors import InputError
from carsfg.evaluation.embed import embed
from carsfg.evaluation.loaders import labelled_batches, testing_loader, training_loader
from carsfg.evaluation.scores import Images
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import check_classes, read_checkpoint


@dataclass
class Subject:
    """A network with the data that it is scored on.

    Attributes:
        task: the network, in eval mode.
        data: DataModule that was set up for a test.
        class_names: in label order: those of the network, or those of the data if the network has no head.
        duplicates: number of images with a byte-identical file elsewhere, by part of the data, once the images are
            embedded; empty if the files are not known.
    """

    task: CarsTask
    data: LightningDataModule
    class_names: list[str]
    duplicates: dict[str, int] = field(default_factory=dict)

    @classmethod
    def prepare(cls, task: CarsTask, data: LightningDataModule, path: str | Path) -> "Subject":
        """Set the data up, and check that the network fits it.

        Args:
            task: the network, in eval mode.
            data: DataModule, not set up yet.
            path: file of the checkpoint, for messages.

        Raises:
            InputError: the data is missing, the network knows other classes, or it is called zero-shot but was
                initialised from a checkpoint that had learned the classes it is tested with.
        """
        names = getattr(data, "class_names", None)
        if task.has_head and isinstance(data, CarsDataModule) and same_classes(data.class_names, task.class_names):
            names = data.use_class_names(task.class_names)
        if task.has_head and names is not None:
            check_classes(task.class_names, names)
        if getattr(data, "protocol", None) == "zero_shot":
            _check_start(task, list(names or []), path)
        data.prepare_data()
        data.setup("test")
        known = task.class_names if task.has_head else names
        if known is None:
            raise InputError(f"{type(data).__name__} has no class_names, and {path} has no head that knows classes")
        return cls(task, data, list(known))

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
        duplicate = torch.zeros(len(data.labels), dtype=torch.bool)
        duplicate[[row for group in repeated(data.digests) for row in group]] = True
        held = torch.from_numpy(data.held_out)
        if data.protocol == "zero_shot":
            rows, loader = data.splits.test, track(data.test_dataloader()[0])
            self.duplicates = {"the second half": int(duplicate[rows].sum())}
            return None, Images(*embed(self.task, loader, bfloat16), duplicate[rows], held[rows])
        train, test = (torch.from_numpy(mask) for mask in (np.isin(data.parts, ("train", "val")), data.parts == "test"))
        self.duplicates = {"train": int(duplicate[train].sum()), "test": int(duplicate[test].sum())}
        everything = Images(*embed(self.task, track(data.every_image_dataloader()), bfloat16), duplicate, held)
        return everything.take(train), everything.take(test)

    def _loaded_images(self, bfloat16: bool, track: Any) -> tuple[Images | None, Images]:
        """Embed what the loaders of a user's own DataModule give; which files are duplicates is not known."""
        found: list[Images | None] = []
        for loader in (training_loader(self.data), testing_loader(self.data)):
            if loader is None:
                found.append(None)
                continue
            embedded, predicted = embed(self.task, labelled_batches(track(loader), self.class_names), bfloat16)
            labels = embedded.labels.numpy()
            held = torch.from_numpy(holdout(labels, list(map(str, range(len(labels)))), np.arange(len(labels)), seed=0))
            found.append(Images(embedded, predicted, torch.zeros(len(labels), dtype=torch.bool), held))
        train, test = found
        if test is None:
            raise InputError(f"{type(self.data).__name__} has no test_dataloader, so there is nothing to score")
        return train, test


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
                f"{path} was trained under zero_shot, but was initialised from {Path(start).name}, which knows "
                f"{len(known['class_names'])} classes, some of them to be tested: no protocol applies"
            )
        start = known.get("init_from")

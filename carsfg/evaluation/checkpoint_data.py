"""A checkpoint beside the data it is to be scored on: what made it, and whether they fit each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from carsfg.data.crop_cache import twins
from carsfg.data.datamodule import StanfordCarsDataModule
from carsfg.data.splits import holdout
from carsfg.errors import InputError
from carsfg.evaluation.embed import embed
from carsfg.evaluation.scores import Images
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import check_classes, load, read_checkpoint, read_stamp


@dataclass
class Subject:
    """A trained network with its data.

    Attributes:
        task: the network, in eval mode.
        stamp: what made it, as `carsfg.callbacks.record_run` has it; empty where it was trained without.
        data: set up, under the protocol it was trained under.
    """

    task: CarsTask
    stamp: dict[str, Any]
    data: StanfordCarsDataModule

    @classmethod
    def open(cls, path: str | Path, device: str | torch.device = "cpu", **data: Any) -> "Subject":
        """Load a checkpoint and open the data.

        Args:
            path: the checkpoint.
            device: where to put the network.
            **data: arguments of `StanfordCarsDataModule`; protocol and sizes come from the checkpoint.

        Raises:
            InputError: either cannot be read, the network knows other classes, or it is called zero-shot but began in
                one that had learned the classes it is to be tested with.
        """
        task = load(path, device)
        stamp = read_stamp(path)
        try:
            module = _open(task, stamp, data)
        except InputError as error:
            if stamp.get("data") != "drawn cars" or data.get("drawn") is not None:
                raise
            raise InputError(
                f"{path} was trained on drawn cars: add --drawn (those of demo.yaml) or --drawn=CLASSES,TRAIN,TEST,SEED"
            ) from error
        if module.protocol == "zero_shot":
            _check_start(task, module.class_names, path)
        module.prepare_data()
        module.setup("test")
        return cls(task, stamp, module)

    @property
    def begins_in_unknown(self) -> str | None:
        """The name of the checkpoint its backbone began in, if that is not there any more to be looked into."""
        start = self.task.hparams["init_from"]
        return Path(start).name if start is not None and not Path(start).is_file() else None

    def images(self, bfloat16: bool = False, track: Any = iter) -> tuple[Images | None, Images]:
        """Embed all images of train and test; of a zero-shot network those of the test half alone.

        Args:
            bfloat16: compute in it where autocast does.
            track: wraps the loader, to show progress.
        """
        data = self.data
        digests = [digest for cache in data.caches for digest in cache.digests]
        first = len(data.caches[0])
        twin, held = torch.zeros(2, len(digests), dtype=torch.bool)
        twin[[row for group in twins(digests) for row in group]] = True
        held[:first] = torch.from_numpy(holdout(data.labels[:first], digests[:first], data.split_seed))
        if data.protocol == "zero_shot":
            rows = data.splits.test
            return None, Images(*embed(self.task, track(data.test_dataloader()[0]), bfloat16), twin[rows], held[rows])
        everything = Images(*embed(self.task, track(data.every_image_dataloader()), bfloat16), twin, held)
        return everything.take(slice(first)), everything.take(slice(first, None))


def _open(task: CarsTask, stamp: Mapping[str, Any], data: dict[str, Any]) -> StanfordCarsDataModule:
    """Open the data as the network was trained on it; its classes tell the protocol where nothing else does."""
    size = stamp.get("image_size", task.hparams["image_size"])
    settings: dict[str, Any] = {**data, "image_size": size, "val": stamp.get("val", "holdout")}
    names = StanfordCarsDataModule(**settings).all_class_names
    half = task.class_names == names[: len(names) // 2]
    protocol = stamp.get("protocol", "zero_shot" if half else "official")
    module = StanfordCarsDataModule(**settings, protocol=protocol)
    check_classes(task.class_names, module.class_names)
    return module


def _check_start(task: CarsTask, names: list[str], path: str | Path) -> None:
    """Follow `init_from` as far as the checkpoints are there.

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

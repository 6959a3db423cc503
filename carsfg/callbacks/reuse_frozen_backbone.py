"""A frozen backbone gives the same output every epoch, and every run: compute it once."""

import uuid
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from carsfg.models.backbones import read_state_dict
from carsfg.progress import track
from carsfg.tasks.base import CarsTask
from carsfg.tasks.fingerprint import fingerprint


class ReuseFrozenBackbone(Callback):
    """Pass all images through the backbone once, then train and score on its output.

    Steps in where the backbone is frozen and images are not augmented; the figures are those of the plain way, since
    batches of the same size go through the same precision. Runs that are cut short (`fast_dev_run`,
    `limit_*_batches`) go the plain way. The output is kept beside the decoded crops, under a key of all that it depends
    on: weights, crops, preprocessing, precision and kind of device. It is lent to the data for the time of a `fit`, and
    of a `test` of the same backbone.
    """

    def __init__(self) -> None:
        self._features: Tensor | None = None
        self._key = ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find or compute the features, before Lightning asks for the loaders."""
        data = getattr(trainer, "datamodule", None)
        # floats are shares, integers are counts: 1 is one batch
        whole = all(repr(limit) == "1.0" for limit in (trainer.limit_train_batches, trainer.limit_val_batches))
        if data is not None and data.augment == "none" and whole and _is_still(pl_module):
            self._key = features_key(trainer, pl_module)
            data.features = self._features = self._find_or_compute(trainer, pl_module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lend the features to a validation or test of the network that they came from."""
        if stage != "fit" and self._features is not None and features_key(trainer, pl_module) == self._key:
            trainer.datamodule.features = self._features  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take them back if a checkpoint has brought another backbone."""
        if self._features is not None and features_key(trainer, pl_module) != self._key:
            _take_back(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take them back."""
        _take_back(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take them back."""
        _take_back(trainer)

    def _find_or_compute(self, trainer: Trainer, task: LightningModule) -> Tensor:
        """Read the features from disk, or compute them and leave them there; every process of a run by itself."""
        file = Path(trainer.datamodule.cache_dir) / f"features-{self._key}.pt"  # type: ignore[attr-defined]
        if file.is_file():
            return read_state_dict(file)["features"]
        features = _compute(trainer, task)
        beside = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
        try:
            torch.save({"features": features}, beside)
            beside.replace(file)
        except (OSError, RuntimeError) as error:
            rank_zero_warn(f"the backbone's output could not be kept in {file.parent} ({error}); the run goes on")
        finally:
            beside.unlink(missing_ok=True)
        return features


def features_key(trainer: Trainer, task: LightningModule) -> str:
    """Hash all that a backbone's output depends on, as 16 hexadecimal digits.

    Args:
        trainer: whose precision, device and data count.
        task: whose backbone and preprocessing count.
    """
    data = getattr(trainer, "datamodule", None)
    device = trainer.strategy.root_device.type  # not the task's: between `fit` and `test` that lies on the CPU
    facts = [trainer.precision, device, type(task).__name__, getattr(data, "batch_size", None)]
    facts += [cache.path.name for cache in getattr(data, "caches", [])]
    return fingerprint(task, ("backbone.", "preprocess."), facts)


@torch.no_grad()
def _compute(trainer: Trainer, task: LightningModule) -> Tensor:
    assert isinstance(task, CarsTask)  # noqa: S101
    loader = trainer.datamodule.every_image_dataloader()  # type: ignore[attr-defined]
    batches = track(loader, "computing the frozen backbone's output", trainer.is_global_zero)
    with trainer.precision_plugin.forward_context():
        images = (task.preprocess(batch["image"].to(task.device)) for batch in batches)
        return torch.cat([task.embed_images(one).cpu() for one in images])


def _take_back(trainer: Trainer) -> None:
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        data.features = None


def _is_still(task: LightningModule) -> bool:
    """Whether nothing in the backbone learns: no parameter, and no BatchNorm statistic or dropout."""
    backbone = getattr(task, "backbone", None)
    if not isinstance(task, CarsTask) or backbone is None or task.optimizer_groups is not None:
        return False
    return backbone in task.frozen_modules and not any(p.requires_grad for p in backbone.parameters())

"""Compute the output of a frozen backbone once: it is the same in every epoch and every run."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from carsfg.callbacks.observer import Observer
from carsfg.data.augmentation import recipe
from carsfg.data.cache_folder import FEATURES, describe, note_use
from carsfg.data.datamodule import CarsDataModule
from carsfg.files import replacing, write_error
from carsfg.models.backbones import read_state_dict
from carsfg.progress import track
from carsfg.tasks.base import CarsTask
from carsfg.tasks.fingerprint import fingerprint


class ReuseFrozenBackbone(Observer):
    """Pass all images through the backbone once, then train and score on its output, the features.

    It is active if the backbone is frozen, images are not augmented and their boxes do not move, except in runs that
    are cut short (`fast_dev_run`, `limit_*_batches`). Metrics are the same as without it, since the batches have the
    same size and precision. The features are stored beside the decoded crops, under a key of everything that they
    depend on: weights, crops, preprocessing, precision and kind of device. The DataModule serves them during `fit`, and
    during `test` of the same backbone.
    """

    def __init__(self) -> None:
        self._features: Tensor | None = None
        self._key = ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find or compute the features, before Lightning asks for the loaders."""
        data = getattr(trainer, "datamodule", None)
        # floats are shares, integers are counts: 1 is one batch
        whole = all(repr(limit) == "1.0" for limit in (trainer.limit_train_batches, trainer.limit_val_batches))
        if not isinstance(data, CarsDataModule) or recipe(data.augment) is not None or data.box_jitter:
            return
        if whole and _is_still(pl_module):
            self._key = features_key(trainer, pl_module)
            data.features = self._features = self._find_or_compute(trainer, pl_module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Serve the features to a validation or test of the same backbone."""
        if stage != "fit" and self._features is not None and features_key(trainer, pl_module) == self._key:
            trainer.datamodule.features = self._features  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Stop serving the features if a checkpoint has brought another backbone."""
        if self._features is not None and features_key(trainer, pl_module) != self._key:
            _stop_serving(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop serving the features."""
        _stop_serving(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop serving the features."""
        _stop_serving(trainer)

    def _find_or_compute(self, trainer: Trainer, task: LightningModule) -> Tensor:
        """Read the features from disk, or compute and store them; each process of a run does so for itself."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        file = Path(data.cache_dir) / f"{FEATURES}{self._key}.pt"
        if file.is_file():
            note_use(file)
            return read_state_dict(file)["features"]
        features = _compute(trainer, task)
        try:
            with replacing(file) as beside:
                torch.save({"features": features}, beside)
            network = task.hparams.get("backbone", type(task).__name__)
            describe(file, f"features of {len(features):,} images by a frozen {network}", data.source.folder)
        except (OSError, RuntimeError) as error:
            rank_zero_warn(
                f"the backbone's output could not be stored in {file.parent} ({write_error(error)}); the run goes on"
            )
        return features


def features_key(trainer: Trainer, task: LightningModule) -> str:
    """Hash everything that the output of a backbone depends on, as 16 hexadecimal digits.

    Args:
        trainer: its precision, device and data are hashed.
        task: its backbone and preprocessing are hashed.
    """
    assert isinstance(task, CarsTask)  # noqa: S101
    data = getattr(trainer, "datamodule", None)
    device = trainer.strategy.root_device.type  # not the task's, which is on the CPU between `fit` and `test`
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


def _stop_serving(trainer: Trainer) -> None:
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        data.features = None


def _is_still(task: LightningModule) -> bool:
    """Return whether nothing in the backbone changes: no parameter, no BatchNorm statistics, no dropout."""
    backbone = getattr(task, "backbone", None)
    if not isinstance(task, CarsTask) or backbone is None or task.optimizer_groups is not None:
        return False
    return backbone in task.frozen_modules and not any(p.requires_grad for p in backbone.parameters())

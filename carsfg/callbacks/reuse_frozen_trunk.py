"""A frozen trunk gives the same output every epoch: compute it once."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.progress import track
from torch import Tensor

from carsfg.tasks.base import CarsTask


class ReuseFrozenTrunk(Callback):
    """Pass all images through the trunk once, then train and score on its output.

    Steps in where the trunk is frozen and images are not augmented; the figures are those of the plain way, since
    batches of the same size go through the same precision. Runs that are cut short (`fast_dev_run`,
    `limit_*_batches`) go the plain way.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features, before Lightning asks for the loaders."""
        data = getattr(trainer, "datamodule", None)
        whole = trainer.limit_train_batches == trainer.limit_val_batches == 1.0
        if data is not None and data.augment == "none" and whole and _is_still(pl_module):
            data.features = self._features(trainer, pl_module, data)

    @torch.no_grad()
    def _features(self, trainer: Trainer, task: LightningModule, data: Any) -> Tensor:
        assert isinstance(task, CarsTask)  # noqa: S101
        loader = data.every_image_dataloader()
        batches = track(loader, "computing the frozen trunk's output", disable=not trainer.is_global_zero)
        with trainer.precision_plugin.forward_context():
            return torch.cat([task.embed({"image": batch["image"].to(task.device)}).cpu() for batch in batches])


def _is_still(task: LightningModule) -> bool:
    """Whether nothing in the trunk learns: no parameter, and no BatchNorm statistic or dropout."""
    trunk = getattr(task, "trunk", None)
    if not isinstance(task, CarsTask) or trunk is None or task.optimizer_groups is not None:
        return False
    return trunk in task.frozen_modules and not any(p.requires_grad for p in trunk.parameters())

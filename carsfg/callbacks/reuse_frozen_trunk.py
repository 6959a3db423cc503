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
    `limit_*_batches`) go the plain way. The output stays here between `fit` and a `test` of the same network, and
    never in the data, which may serve another network next.
    """

    def __init__(self) -> None:
        self._features: Tensor | None = None
        self._made_by: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features, before Lightning asks for the loaders."""
        data = getattr(trainer, "datamodule", None)
        # floats are shares, integers are counts: 1 is one batch
        whole = all(repr(limit) == "1.0" for limit in (trainer.limit_train_batches, trainer.limit_val_batches))
        if data is not None and data.augment == "none" and whole and _is_still(pl_module):
            data.features = self._features = self._compute(trainer, pl_module, data)
            self._made_by = _maker(data, pl_module)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lend the features to a validation or test of the network that they came from."""
        data = getattr(trainer, "datamodule", None)
        if stage != "fit" and self._features is not None and _maker(data, pl_module) == self._made_by:
            data.features = self._features  # type: ignore[union-attr]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take them back if a checkpoint has brought another trunk."""
        data = getattr(trainer, "datamodule", None)
        if self._features is not None and _maker(data, pl_module) != self._made_by:
            _take_back(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take them back."""
        _take_back(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take them back."""
        _take_back(trainer)

    @torch.no_grad()
    def _compute(self, trainer: Trainer, task: LightningModule, data: Any) -> Tensor:
        assert isinstance(task, CarsTask)  # noqa: S101
        loader = data.every_image_dataloader()
        batches = track(loader, "computing the frozen trunk's output", disable=not trainer.is_global_zero)
        with trainer.precision_plugin.forward_context():
            return torch.cat([task.embed({"image": batch["image"].to(task.device)}).cpu() for batch in batches])


def _take_back(trainer: Trainer) -> None:
    data = getattr(trainer, "datamodule", None)
    if data is not None:
        data.features = None


def _maker(data: Any, task: LightningModule) -> tuple[int, int, int]:
    """Tell data, task and its trunk's weights from others, by a sum of bytes, which no order or device rounds."""
    tensors = getattr(task, "trunk", task).state_dict().values()
    total = sum(int(one.cpu().reshape(-1).view(torch.uint8).sum(dtype=torch.int64)) for one in tensors)
    return id(data), id(task), total


def _is_still(task: LightningModule) -> bool:
    """Whether nothing in the trunk learns: no parameter, and no BatchNorm statistic or dropout."""
    trunk = getattr(task, "trunk", None)
    if not isinstance(task, CarsTask) or trunk is None or task.optimizer_groups is not None:
        return False
    return trunk in task.frozen_modules and not any(p.requires_grad for p in trunk.parameters())

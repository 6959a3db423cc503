"""Mixup and CutMix: train on blends of two images, with shares of both classes as labels."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torchvision.transforms.v2 import CutMix, MixUp

from carsfg.errors import InputError
from carsfg.tasks.base import CarsTask


class MixupCutmix(Callback):
    """Blend each training batch with itself, by torchvision's `MixUp` or `CutMix`; its labels become shares (B, C).

    Random numbers come from torch's global state, which the task seeds every epoch.

    Args:
        share: share of the batches to blend, 0..1.
        mixup: alpha of the Beta distribution of the weight of the other image (Zhang et al. 2018); 0 for no MixUp.
        cutmix: alpha of the Beta distribution of the area of the other image (Yun et al. 2019); 0 for no CutMix. With
            both, each is used for half of the blended batches.
        until_epoch: number of epochs with blending, counted from the start; None for all epochs.

    Raises:
        InputError: a number is out of its range, or the batches hold features instead of images.
    """

    def __init__(
        self, share: float = 1.0, mixup: float = 0.2, cutmix: float = 1.0, until_epoch: int | None = None
    ) -> None:
        if not 0 <= share <= 1 or min(mixup, cutmix) < 0 or mixup + cutmix == 0:
            raise InputError("MixupCutmix: share must be in 0..1, mixup and cutmix 0 or more, and one of them above 0")
        self.share, self.mixup, self.cutmix, self.until_epoch = share, mixup, cutmix, until_epoch

    def describe(self) -> dict[str, Any] | None:
        """Return the arguments, for the run record."""
        names = ("share", "mixup", "cutmix", "until_epoch")
        return {name: getattr(self, name) for name in names}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare the blends for the number of classes, and refuse losses that cannot learn from them."""
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        if pl_module.hparams.get("loss") is not None:
            raise InputError("metric-learning losses take no mixed images: leave MixupCutmix out")
        classes = len(pl_module.class_names)
        kinds = ((MixUp, self.mixup), (CutMix, self.cutmix))
        self._mixes = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha > 0]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Blend the batch in place."""
        if "image" not in batch:
            raise InputError("MixupCutmix needs images: set model.freeze: none, or augment them")
        if self.until_epoch is not None and trainer.current_epoch >= self.until_epoch:
            return
        if torch.rand(()) < self.share:
            mix = self._mixes[int(torch.randint(len(self._mixes), ()))]
            batch["image"], batch["label"] = mix(batch["image"].float(), batch["label"])

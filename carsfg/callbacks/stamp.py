"""What made a run: stamped into its hyper-parameters and checkpoints, so that no table mixes what differs."""

import platform
from typing import Any

import torch
import torchvision
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import carsfg
from carsfg.seeding import global_seed


class RunStamp(Callback):
    """Record protocol, split hash, weights, choice, seed and hardware of a run."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the stamp once data and task are known; log it with the hyper-parameters when training."""
        self.stamp = make_stamp(trainer, pl_module)
        if stage == "fit":
            hyper_parameters = {key: value for key, value in pl_module.hparams.items() if key != "class_names"}
            for logger in trainer.loggers:
                logger.log_hyperparams({**hyper_parameters, **self.stamp})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the stamp beside the weights."""
        checkpoint.setdefault("carsfg", {})["stamp"] = self.stamp


def make_stamp(trainer: Trainer, task: LightningModule) -> dict[str, str | int]:
    """Return the stamp of a run, as plain strings and integers."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    monitors = [c.monitor for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
    chosen_on = f"{data.val}: {monitors[0]}" if monitors else "last epoch"
    return {
        "protocol": data.protocol,
        "val": data.val,
        "retrieval": data.retrieval,
        "data": "drawn cars" if data.drawn else "Stanford Cars",
        "image_size": data.image_size,
        "augment": data.augment,
        "batch_size": data.batch_size * trainer.world_size,
        "split_hash": data.split_hash,
        "weights": _weights(task),
        "chosen_on": chosen_on,
        "seed": global_seed(),
        "precision": str(trainer.precision),
        "max_epochs": trainer.max_epochs or -1,
        "hardware": _hardware(trainer),
        "versions": f"carsfg {carsfg.__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}",
    }


def _weights(task: LightningModule) -> str:
    """Name where the trunk came from, by the file's name alone: its folder is nobody's business."""
    start = task.hparams.get("init_from") or task.hparams.get("weights")
    return str(start).replace("\\", "/").rsplit("/", 1)[-1] if start else "random"


def _hardware(trainer: Trainer) -> str:
    if torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda":
        return f"{trainer.world_size} x {torch.cuda.get_device_name()}"
    return f"{trainer.world_size} x CPU ({platform.machine()}, {torch.get_num_threads()} threads)"

"""What made a run: stamped into its hyper-parameters and checkpoints, so that no table mixes what differs."""

import platform
from typing import Any

import torch
import torchvision
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

import carsfg
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.report.groups import network
from carsfg.seeding import global_seed

# what a stamp says of the training, as against the scoring, of weights
MAKING = ("val", "augment", "batch_size", "split_hash", "weights", "chosen_on", "seed", "max_epochs")


# what TensorBoard compares runs by: its table takes its columns from one run, so all of them have the same
COMPARED = (
    "augment", "batch_size", "data", "image_size", "lr", "max_epochs", "optimizer", "precision", "protocol", "seed",
    "val", "weights",
)  # fmt: skip


class RecordRun(Callback):
    """Record protocol, split hash, weights, choice, seed and hardware of a run."""

    def __init__(self) -> None:
        self._made: dict[str, str | int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the stamp once data and task are known, and log it with the hyper-parameters."""
        self.stamp = make_stamp(trainer, pl_module) | self._made
        self._log(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget how the weights were made: the next ones may be others."""
        self._made = {}

    def say_how_made(self, checkpoint: dict[str, Any]) -> None:
        """Say in the next test's stamp how the weights of a checkpoint were made, which are to be scored.

        Args:
            checkpoint: as `carsfg.tasks.checkpoints.read_checkpoint` gives it.
        """
        made = checkpoint.get("carsfg", {}).get("stamp", {})
        self._made = {key: made[key] for key in MAKING if key in made}

    def hyper_parameters(self, task: LightningModule) -> dict[str, Any]:
        """Return what to log: the task's hyper-parameters, but for the class names and folders, and the stamp.

        Args:
            task: the network that is trained or scored.
        """
        own = {key: value for key, value in task.hparams.items() if key not in ("class_names", "init_from")}
        return {**own, **self.stamp}

    def compared(self, task: LightningModule) -> dict[str, str | int | float]:
        """Return the few hyper-parameters to compare runs by, the same ones for every task.

        Args:
            task: the network that is trained or scored.
        """
        known = self.hyper_parameters(task)
        return {"network": network(known), **{key: known[key] for key in COMPARED}}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """When weights are scored rather than trained on, keep saying how they were made."""
        if trainer.state.fn != TrainerFn.FITTING:
            self.say_how_made(checkpoint)
            self.stamp |= self._made
            self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, task: LightningModule) -> None:
        for logger in trainer.loggers:  # they write `hparams.yaml` when they first save, after this
            logger.log_hyperparams(self.hyper_parameters(task))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the stamp beside the weights."""
        checkpoint.setdefault("carsfg", {})["stamp"] = self.stamp


def make_stamp(trainer: Trainer, task: LightningModule) -> dict[str, str | int]:
    """Return the stamp of a run, as plain strings and integers.

    Args:
        trainer: with its data and callbacks.
        task: the network that is trained or scored.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    choosing = [c for c in trainer.callbacks if isinstance(c, ModelCheckpoint | EarlyStopping) and c.monitor]  # type: ignore[attr-defined]
    chosen_on = f"{data.val}: {choosing[0].monitor}" if choosing else "last epoch"
    return {
        "protocol": data.protocol,
        "val": data.val,
        "retrieval": data.retrieval,
        "metric": next((c.metric for c in trainer.callbacks if isinstance(c, FaissRetrieval)), "none"),  # type: ignore[attr-defined]
        "data": "drawn cars" if data.drawn else "Stanford Cars",
        "image_size": data.image_size,
        "augment": data.augment,
        "batch_size": data.batch_size * trainer.world_size * trainer.accumulate_grad_batches,
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
    """Name where the backbone came from, by the file's name alone: its folder is nobody's business."""
    start = task.hparams.get("init_from") or task.hparams.get("weights")
    return str(start).replace("\\", "/").rsplit("/", 1)[-1] if start else "random"


def _hardware(trainer: Trainer) -> str:
    if torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda":
        return f"{trainer.world_size} x {torch.cuda.get_device_name()}"
    return f"{trainer.world_size} x CPU ({platform.machine()}, {torch.get_num_threads()} threads)"

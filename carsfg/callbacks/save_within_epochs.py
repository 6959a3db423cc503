"""SaveWithinEpochs: checkpoints within long epochs, from which a run continues with the next batch."""

import math
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from carsfg.callbacks.observer import Observer
from carsfg.callbacks.whole_checkpoints import WholeCheckpoints
from carsfg.data.datamodule import CarsDataModule
from carsfg.errors import InputError
from carsfg.files import remove_abandoned

KEPT = 2  # checkpoints: the newest one, and the one before in case that the newest one is damaged
STATE = "within_epoch"  # key of a checkpoint's `carsfg` part
NOT_RESUMABLE = "You're resuming from a checkpoint that ended before the epoch ended"  # but our loaders are


class SaveWithinEpochs(Observer, Checkpoint):
    """Save a checkpoint every few minutes of training, within epochs too.

    `checkpoints/within-epoch=E-step=S.ckpt` of the run's folder holds the run after a batch: a resumed run trains on
    the rest of the epoch's batches, in the same order and with the same random numbers, so on a CPU it gives the same
    weights as a run that was not interrupted. Only the training metrics of that epoch differ: `train/loss` and
    `train/top1` are means over the batches after the resume. The two newest files are kept, and deleted when the
    training has ended.

    A file is written after whole optimizer steps, and not after a batch that a validation follows. Runs without a
    logger, runs with a plateau scheduler that steps within epochs, and DataModules that are not a
    `carsfg.CarsDataModule` are saved at the end of epochs only, by ModelCheckpoint.

    All checkpoints of the run, those of ModelCheckpoint included, are written beside their place and renamed.

    Args:
        minutes: of training between two checkpoints; 0 for one after every step.

    Raises:
        InputError: `minutes` is negative.
    """

    def __init__(self, minutes: float = 15.0) -> None:
        if not 0 <= minutes < math.inf:
            raise InputError(f"SaveWithinEpochs: minutes {minutes} must be 0 or more")
        self.minutes = minutes
        self._saved_at = 0.0  # seconds of the monotonic clock
        self._restored: dict[str, Any] = {}
        self._written: list[str] = []  # names of files, in the order in which this process wrote them

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let all checkpoints be written beside their place, unless the Trainer was given another way to write them."""
        if stage == "fit" and type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the random state of a run that is resumed until the training starts."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._restored = checkpoint.get("carsfg", {}).get(STATE, {})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the random state of each process and the number of batches of the epoch."""
        if trainer.state.fn == TrainerFn.FITTING:
            states = {key: _of_all_processes(pl_module, state) for key, state in _random_states(pl_module).items()}
            kept = {"batches": trainer.num_training_batches, "random": states}
            checkpoint.setdefault("carsfg", {})[STATE] = kept

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; continue the random numbers of an interrupted epoch.

        Raises:
            InputError: the epoch has another number of batches than that of the checkpoint.
        """
        self._saved_at = time.monotonic()
        folder = _folder(trainer)
        if folder is not None and trainer.is_global_zero:
            remove_abandoned(folder, 0)
        if self._restored:
            _continue(trainer, pl_module, self._restored)
        self._restored = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if enough time has passed and the run can be resumed after this batch."""
        if not _can_resume_after(trainer, batch_idx):
            return
        due = time.monotonic() - self._saved_at >= 60 * self.minutes
        if not trainer.strategy.broadcast(due):  # the clocks of the processes differ
            return
        folder = _folder(trainer)
        if folder is None:
            return
        name = f"within-epoch={trainer.current_epoch}-step={trainer.global_step}.ckpt"
        trainer.save_checkpoint(folder / name)
        self._saved_at = time.monotonic()
        self._written = [*self._written[-KEPT:], name]
        if trainer.is_global_zero:
            _keep(folder, KEPT, self._written)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Delete the checkpoints within epochs of a training that has ended."""
        folder = _folder(trainer)
        if folder is not None and trainer.is_global_zero:
            _keep(folder, 0, [])


def _folder(trainer: Trainer) -> Path | None:
    """Return the folder of the run's checkpoints; None without a logger. All processes need to call it."""
    folder = trainer.log_dir
    return Path(folder) / "checkpoints" if folder and trainer.loggers else None


def _keep(folder: Path, count: int, written: Sequence[str]) -> None:
    """Delete all checkpoints within epochs but the newest ones: the last written ones, whatever the clock said."""
    order = {name: place for place, name in enumerate(written)}
    found = folder.glob("within-epoch=*.ckpt")
    saved = sorted(found, key=lambda path: (order.get(path.name, -1), path.stat().st_mtime_ns))
    for path in saved[: len(saved) - count]:
        with suppress(OSError):
            path.unlink()


def _can_resume_after(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a checkpoint after this batch leaves nothing out when the run is resumed from it."""
    if not isinstance(getattr(trainer, "datamodule", None), CarsDataModule) or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return False
    if any(config.reduce_on_plateau and config.interval == "step" for config in trainer.lr_scheduler_configs):
        return False  # it steps after this hook
    if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
        return False
    counted = trainer.fit_loop.total_batch_idx if trainer.check_val_every_n_epoch is None else batch_idx
    every = trainer.val_check_batch
    return not isinstance(every, int) or (counted + 1) % every > 0  # else a validation follows, which would be skipped


def _continue(trainer: Trainer, task: LightningModule, state: dict[str, Any]) -> None:
    """Continue an interrupted epoch with the random numbers that come next."""
    done, batches = trainer.fit_loop.batch_idx + 1, state["batches"]
    if not 0 < done < batches:  # an epoch that begins is seeded
        return
    processes = len(state["random"]["cpu"])
    if (trainer.num_training_batches, trainer.world_size) != (batches, processes):
        raise InputError(
            f"the checkpoint was saved after {done} of {batches} batches of an epoch on {processes} processes, the "
            f"epoch now has {trainer.num_training_batches} batches on {trainer.world_size}: use the data, the batch "
            "size and the devices of the run"
        )
    warnings.filterwarnings("ignore", NOT_RESUMABLE)
    rank_zero_info(
        f"epoch {trainer.current_epoch + 1} continues after batch {done} of {batches}; its train/loss and train/top1 "
        "are means over the batches that follow"
    )
    # a copy, since torch reads the storage of a state from its start
    own = {key: states[trainer.global_rank].clone() for key, states in state["random"].items()}
    torch.set_rng_state(own["cpu"])
    if "cuda" in own and task.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], task.device)


def _random_states(task: LightningModule) -> dict[str, Tensor]:
    """Return the states of torch's random generators that this process uses, uint8 (N,) each."""
    states = {"cpu": torch.get_rng_state()}
    if task.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(task.device)
    return states


def _of_all_processes(task: LightningModule, state: Tensor) -> Tensor:
    """Return the states of all processes on the CPU, (P, N)."""
    gathered: Any = task.all_gather(state)
    return gathered.reshape(-1, len(state)).cpu()  # type: ignore[no-any-return]

"""One line per epoch that stays when the progress bar moves on, and also reaches log files."""

import time

from lightning import LightningModule, Trainer

from carsfg.callbacks.observer import Observer


class EpochSummary(Observer):
    """Print `epoch 3/10  train loss 1.234  train top1 45.6 %  val loss ...  207 s` on the main process.

    Validation metrics are printed only for epochs that were validated.
    """

    def __init__(self) -> None:
        self._started = 0.0
        self._validated = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._validated = time.monotonic(), False

    on_train_start = on_train_epoch_start  # a run resumed within an epoch does not start that epoch again

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch has new validation metrics."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line; validation has ended by now."""
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        total = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        parts = [f"epoch {trainer.current_epoch + 1}{total}"]
        for split in ("train", "val") if self._validated else ("train",):
            if f"{split}/loss" in values:
                parts.append(f"{split} loss {values[f'{split}/loss']:.4f}")
            if f"{split}/top1" in values:
                parts.append(f"{split} top1 {100 * values[f'{split}/top1']:.2f} %")
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        trainer.print("  ".join(parts), flush=True)

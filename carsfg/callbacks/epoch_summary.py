"""One line an epoch, which stays when the progress bar moves on and reaches log files as well."""

import time

from lightning import Callback, LightningModule, Trainer


class EpochSummary(Callback):
    """Print `epoch 3/10  train loss 1.234  train top1 45.6 %  val loss ...  207 s` on the main process."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch, validation included."""
        figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
        for split in ("train", "val"):
            if f"{split}/loss" in figures:
                parts.append(f"{split} loss {figures[f'{split}/loss']:.4f}")
                parts.append(f"{split} top1 {100 * figures[f'{split}/top1']:.2f} %")
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        trainer.print("  ".join(parts), flush=True)

"""Hooks of a task for averaged weights, such as those of Lightning's `EMAWeightAveraging`."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn

from carsfg.tasks.constants import Constants


def attached_trainer(module: LightningModule) -> Trainer | None:
    """Return the trainer that runs a module; None without a trainer, when `module.trainer` raises.

    Args:
        module: any LightningModule.
    """
    try:
        return module.trainer
    except RuntimeError:
        return None


class AveragingHooks(LightningModule):
    """Keeps constant tensors as they are in averaged weights: validated, saved, and left after training.

    The hooks belong to the module and not to a callback, since Lightning calls a module after all callbacks: the
    averages are in place by then. `on_validation_start` is the last hook before that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._constants = Constants()

    def on_fit_start(self) -> None:
        """Forget the constants of an earlier training."""
        self._constants = Constants()

    def on_train_start(self) -> None:
        """Keep the constants if a callback averages the weights."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(one, WeightAveraging) for one in callbacks):
            self._constants.begin(self)

    def on_validation_start(self) -> None:
        """Look at the weights in training, before their average takes their place."""
        if self._is_fitting():
            self._constants.forget_changed(self)

    def on_train_epoch_end(self) -> None:
        """Look at the weights in training."""
        self._constants.forget_changed(self)

    def on_validation_epoch_start(self) -> None:
        """Restore the constants in the average."""
        if self._is_fitting():
            self._constants.put_back_into(self)

    def on_train_end(self) -> None:
        """Restore the constants in the average."""
        self._constants.put_back_into(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let callbacks take part in a checkpoint of weights only, and restore the constants in it.

        With `save_weights_only` Lightning asks no callback, not even the one whose average has been validated.

        Args:
            checkpoint: as Lightning is about to write it; it is changed.
        """
        trainer = attached_trainer(self)
        if trainer is None:
            return
        if "callbacks" not in checkpoint:
            whole = dict(checkpoint)
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_save_checkpoint(trainer, self, whole)
            checkpoint |= {key: whole[key] for key in ("state_dict", "carsfg") if key in whole}
        if self._is_fitting():
            self._constants.forget_changed(self)
            self._constants.put_back(checkpoint["state_dict"])

    def _is_fitting(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

"""CheckMonitors: an unknown monitor is named before the first epoch, not after it."""

from collections.abc import Collection
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from carsfg.callbacks.observer import Observer
from carsfg.errors import InputError, suggestion


class CheckMonitors(Observer):
    """Compare all monitors with the keys that will be logged, before the first epoch.

    The keys are those that the task and the callbacks declare by `logged_keys() -> set[str]`. If one of them is a class
    of the user's own without this method, the keys are not known beforehand: an unknown monitor then ends the run after
    its first validation, see `monitor_mistake`.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before the output of a frozen backbone is computed.

        Raises:
            InputError: a checkpoint, early stopping or a scheduler monitors a metric that is never logged.
        """
        logging = [pl_module, *trainer.callbacks]  # type: ignore[attr-defined]
        if all(_is_declared(type(one)) for one in logging):
            keys = {key for one in logging if hasattr(one, "logged_keys") for key in one.logged_keys()}
            if line := find_unknown(trainer, keys):
                raise InputError(line)


def monitor_mistake(trainer: Trainer, error: Exception) -> InputError | None:
    """Return the user's mistake behind Lightning's error about a metric that was not logged; None for other errors.

    Args:
        trainer: that raised the error.
        error: any exception.
    """
    if not any(monitor in str(error) for _, monitor in _monitors(trainer)):
        return None
    line = find_unknown(trainer, trainer.callback_metrics)
    return InputError(line) if line else None


def find_unknown(trainer: Trainer, keys: Collection[str]) -> str:
    """Return a line that names the first monitor which is never logged; an empty text if there is none.

    Learning rates, `lr-...`, and a checkpoint's `epoch` and `step` are not checked: Lightning names them.

    Args:
        trainer: its checkpoints, early stopping and schedulers are looked at.
        keys: of all metrics that are logged.
    """
    for owner, monitor in _monitors(trainer):
        counted = issubclass(owner, ModelCheckpoint) and monitor in ("epoch", "step")
        if monitor not in keys and not counted and not monitor.startswith("lr-"):
            near = suggestion(monitor, keys) or f"; use one of {', '.join(sorted(keys))}"
            return f"{owner.__name__} monitors {monitor!r}, which is not logged{near}"
    return ""


def _monitors(trainer: Trainer) -> list[tuple[type, str]]:
    """Return all monitors that must be logged, each with the class that has it."""
    schedulers = [config for config in trainer.lr_scheduler_configs if config.reduce_on_plateau]
    owners: list[tuple[Any, Any]] = [(one, one) for one in trainer.callbacks]  # type: ignore[attr-defined]
    owners += [(config.scheduler, config) for config in schedulers]
    strict = [(owner, holder) for owner, holder in owners if getattr(holder, "strict", True)]
    named = [(type(owner), getattr(holder, "monitor", None)) for owner, holder in strict]
    return [(owner, monitor) for owner, monitor in named if isinstance(monitor, str)]


def _is_declared(cls: type) -> bool:
    """Whether a class is one of carsfg's or Lightning's, or has its own `logged_keys`."""
    return cls.__module__.startswith(("carsfg.", "lightning.")) or "logged_keys" in vars(cls)

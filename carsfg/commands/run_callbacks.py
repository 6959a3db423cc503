"""The callbacks of a run: those of its config, and carsfg's own."""

import re
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor, ModelCheckpoint, ProgressBar, RichProgressBar

from carsfg.callbacks import DEFAULT_CALLBACKS, CheckMemory, CheckMonitors, RecordRun, SaveWithinEpochs


def all_callbacks(config: Any, record: RecordRun, logs: bool) -> list[Callback]:
    """Return the callbacks of a run in the order in which they are called.

    Args:
        config: the `trainer` block, with its callbacks instantiated.
        record: that writes the run record.
        logs: whether the run has loggers.
    """
    given = config.callbacks or []
    callbacks: list[Callback] = [CheckMonitors(), CheckMemory(), *(given if isinstance(given, list) else [given])]
    kept = [one for one in callbacks if isinstance(one, Checkpoint)]
    saving = [one for one in kept if isinstance(one, ModelCheckpoint)]
    for one in saving:
        name_without_folders(one)
    if config.enable_checkpointing is not False:
        # Lightning adds a ModelCheckpoint only if no callback is a Checkpoint
        callbacks += [] if saving else [ModelCheckpoint()]
        callbacks += _last_epoch(saving)
        callbacks += [] if any(isinstance(one, SaveWithinEpochs) for one in kept) else [SaveWithinEpochs()]
    if logs:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    if config.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in callbacks):
        callbacks.append(RichProgressBar(refresh_rate=10))  # each refresh waits for the GPU
    return [*callbacks, record, *(one() for one in DEFAULT_CALLBACKS)]


def _last_epoch(saving: list[ModelCheckpoint]) -> list[ModelCheckpoint]:
    """Return what saves `last.ckpt` after every epoch of a run that keeps its best one, unless it saves all epochs.

    Lightning's `save_last` saves nothing after an epoch that was not one of the best, so that a run would be resumed
    from its best epoch.
    """
    last = ModelCheckpoint(filename="last", enable_version_counter=False)
    choosing = [one for one in saving if one.monitor and one.save_last is not False]
    for one in choosing:
        one.save_last = False
    known = [one.state_key for one in saving]  # no two callbacks may have the same
    return [last] if choosing and last.state_key not in known else []


def name_without_folders(checkpoint: ModelCheckpoint) -> None:
    """Write the metrics in the file names of a checkpoint without their slash, which would make folders.

    `{epoch}-{val/loss:.2f}` gives `epoch=3-val_loss=1.39.ckpt`.

    Args:
        checkpoint: its `filename` is changed if it names such a metric.
    """
    pattern = checkpoint.filename or ""
    if checkpoint.auto_insert_metric_name and re.search(r"\{[^}:]*/", pattern):
        named = re.sub(r"\{([^}:]+)", lambda key: f"{key[1].replace('/', '_')}={key[0]}", pattern)
        checkpoint.filename, checkpoint.auto_insert_metric_name = named, False

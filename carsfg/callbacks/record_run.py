"""RecordRun: writes the RunRecord of a run to its folder, its loggers and its checkpoints."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from carsfg.callbacks.observer import Observer
from carsfg.class_paths import class_path
from carsfg.hardware import device_name
from carsfg.run_record import RunRecord
from carsfg.search.box_choice import difference_line
from carsfg.seeding import global_seed
from carsfg.tasks.checkpoints import read_record
from carsfg.tasks.weights_source import library_versions, weights_of

# what TensorBoard compares runs by: its table takes its columns from one run, so all of them have the same
COMPARED = (
    "data.augment", "data.batch_size", "data.protocol", "data.val", "seed", "task.image_size", "task.lr",
    "task.optimizer", "trainer.max_epochs", "trainer.precision", "weights",
)  # fmt: skip
# arguments of the Trainer that change the result, beside precision and the number of processes; the kind of device,
# logging and profiling do not
TRAINER = (
    "max_epochs", "min_epochs", "max_steps", "min_steps", "accumulate_grad_batches", "gradient_clip_val",
    "gradient_clip_algorithm", "limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches",
)  # fmt: skip
# callbacks of Lightning that change neither weights nor metrics
WATCHING = (LearningRateMonitor, ProgressBar, ModelSummary, DeviceStatsMonitor, SaveConfigCallback)
IGNORED_ARGUMENTS = ("dirpath", "filename", "verbose", "save_weights_only", "save_last", "every_n_train_steps")


class RecordRun(Observer):
    """Record configuration and environment of a run: in `run_record.json`, in checkpoints, and for loggers.

    Task, DataModule and callbacks contribute by `describe() -> dict`. A callback without this method is recorded with
    the arguments that the command line gave it.

    Args:
        experiment: name under which the run is grouped in `report`, such as `tl_exp3`.
        arguments: arguments of callbacks that have no `describe`, by class path.
        data_arguments: arguments of a DataModule that has no `describe`.
    """

    def __init__(
        self,
        experiment: str = "",
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        data_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment, self.arguments, self.data_arguments = experiment, arguments or {}, data_arguments or {}
        self.record = RunRecord()
        self._trained: RunRecord | None = None  # of the checkpoint that is scored

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the record once data and task are known."""
        own = self._make(trainer, pl_module)
        if stage == "fit" and (line := _difference(pl_module, own)):
            rank_zero_info(line)
        self._set(trainer, own if self._trained is None or stage == "fit" else self._trained.scored_as(own))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the checkpoint that was scored: the next weights may differ."""
        self._trained = None

    def load_record(self, checkpoint: Mapping[str, Any]) -> None:
        """Take how the weights were trained from a checkpoint, for the test that follows.

        Args:
            checkpoint: as `carsfg.tasks.checkpoints.read_checkpoint` returns it.
        """
        found = checkpoint.get("carsfg", {}).get("record")
        self._trained = None if found is None else RunRecord.from_dict(found, "checkpoint")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """When weights are scored and not trained on, keep how they were trained."""
        if trainer.state.fn != TrainerFn.FITTING:
            self.load_record(checkpoint)
            if self._trained is not None:
                self._set(trainer, self._trained.scored_as(self.record))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the record beside the weights."""
        checkpoint.setdefault("carsfg", {})["record"] = self.record.to_dict()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record how many images are scored."""
        total = self.record.data.get("test_images")
        if isinstance(total, int):
            per_batch = self.record.data.get("batch_size", 1) * trainer.world_size
            first = trainer.num_test_batches[0]
            self._set(trainer, replace(self.record, scored_images=int(min(total, first * per_batch))))

    def compared(self) -> dict[str, str | int | float]:
        """Return the few values that TensorBoard compares runs by, the same ones for every task."""
        known = self.record.flat()
        values = {key.rpartition(".")[2]: known.get(key, "") for key in COMPARED}
        values |= {"network": self.record.network, "data": self.record.data_name}
        return {key: value if isinstance(value, str | int | float) else str(value) for key, value in values.items()}

    def _set(self, trainer: Trainer, record: RunRecord) -> None:
        self.record = record
        values = record.flat() | {"network": record.network, "recipe_hash": record.recipe_hash}
        for logger in trainer.loggers:
            logger.log_hyperparams(values)
        folder = trainer.log_dir  # asked by all processes, since they agree on it
        if trainer.is_global_zero and folder and trainer.loggers and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            record.write(Path(folder))

    def _make(self, trainer: Trainer, task: LightningModule) -> RunRecord:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        described: dict[str, dict[str, Any]] = {}
        for one in callbacks:
            if (values := self._describe(one)) is not None:
                path = class_path(type(one))
                number = sum(key.partition("#")[0] == path for key in described)
                described[path if number == 0 else f"{path}#{number + 1}"] = values
        data = trainer.datamodule  # type: ignore[attr-defined]
        val = getattr(data, "val", "val")
        # early stopping alone keeps the last weights
        choosing = [c.monitor for c in callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
        arguments = {name: getattr(trainer, name) for name in TRAINER if hasattr(trainer, name)}
        arguments |= {"precision": str(trainer.precision), "processes": trainer.world_size}
        name, digest = weights_of(task.hparams)
        return RunRecord(
            experiment=self.experiment,
            task=_described(task) or {"class_path": class_path(type(task))},
            data=_described(data) or self._foreign_data(data),
            callbacks=described,
            trainer={key: plain(value) for key, value in arguments.items()},
            weights=name,
            weights_sha256=digest,
            chosen_on=f"{val}: {choosing[0]}" if choosing else "last epoch",
            seed=global_seed(),
            hardware=f"{trainer.world_size} x {device_name(trainer.strategy.root_device)}",
            versions=library_versions(),
        )

    def _describe(self, callback: Callback) -> dict[str, Any] | None:
        """Return the arguments of a callback; None for one that changes neither weights nor metrics."""
        if hasattr(callback, "describe"):
            return _described(callback)
        path = class_path(type(callback))
        silent = isinstance(callback, Checkpoint) and not getattr(callback, "monitor", None)
        if silent or isinstance(callback, WATCHING):
            return None
        given = self.arguments.get(path, {})
        return {key: plain(value) for key, value in given.items() if key not in IGNORED_ARGUMENTS}

    def _foreign_data(self, data: Any) -> dict[str, Any]:
        """Describe a DataModule that does not describe itself: by class, number of classes, and arguments."""
        if data is None:
            return {}
        names = getattr(data, "class_names", None)
        given = {key: plain(value) for key, value in self.data_arguments.items() if not _is_folder(value)}
        classes = {"classes": len(names)} if names is not None else {}
        return {"class_path": class_path(type(data)), "name": type(data).__name__, **classes, **given}


def plain(value: Any) -> Any:
    """Return a value as plain JSON values; anything else becomes its text.

    Args:
        value: an argument from a configuration.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "as_dict"):  # jsonargparse's Namespace
        return plain(value.as_dict())
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _described(one: Any) -> dict[str, Any] | None:
    found = one.describe() if hasattr(one, "describe") else None
    return None if found is None else {key: plain(value) for key, value in found.items()}


def _is_folder(value: Any) -> bool:
    return isinstance(value, str | Path) and len(str(value)) < 4096 and Path(value).exists()


def _difference(task: LightningModule, own: RunRecord) -> str:
    """Return one line if the network of `init_from` learned from other images than those of this run."""
    start, given = task.hparams.get("init_from"), own.data.get("learned_from")
    if not start or not given or not Path(str(start)).is_file():
        return ""
    return difference_line(read_record(start), str(given), "the training images", advice=False)

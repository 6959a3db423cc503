"""`carsfg fit | validate | test | predict`: LightningCLI with our data, tasks, callbacks and manners."""

import contextlib
import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, ProgressBar, RichProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus

from carsfg.callbacks import (
    ConfusionMatrix,
    EpochSummary,
    GalleryWriter,
    NeighbourPanels,
    RecordRun,
    ReuseFrozenBackbone,
    ScalarLayout,
)
from carsfg.commands.parsing import one_line
from carsfg.configs import CONFIGS, find_configs, shipped_configs
from carsfg.data.datamodule import StanfordCarsDataModule
from carsfg.errors import InputError, TrainingError
from carsfg.hardware import computes_in_bfloat16
from carsfg.models.backbones import skip_weights
from carsfg.report.run_tables import print_retrieval_table, print_test_table
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import TASKS, check_classes, import_task, read_checkpoint

LOGS = "lightning_logs"
OVERLAYS = ("demo", "gpu")  # shipped configs that are no experiments
# of all test figures, those that TensorBoard compares runs by
COMPARED_BY = ("test/top1", "test/f1_weighted", "test/loss", "test/retrieval/map_at_r", "test/retrieval/top_1")
EVERY_RUN = (
    RecordRun,
    ReuseFrozenBackbone,
    EpochSummary,
    ConfusionMatrix,
    NeighbourPanels,
    GalleryWriter,
    ScalarLayout,
)


class CarsParser(LightningArgumentParser):
    """Raises its complaints instead of printing them and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise the parser's complaint."""
        raise InputError(message)


class CarsCLI(LightningCLI):
    """LightningCLI for one DataModule and any task; tests once after `fit`.

    Args:
        args: the words after the program's name, configs as paths.
        experiment: the name of the run's folder below the log folder.
    """

    def __init__(self, args: list[str], experiment: str) -> None:
        self.experiment = experiment
        self.resumed_classes: list[str] | None = None  # what the network of a given checkpoint knows
        self.tested: str | None = None  # the checkpoint that `fit` has left of what it tested
        self.validated: dict[str, float] = {}  # the last validation's figures, once `fit` has ended
        super().__init__(
            model_class=CarsTask,
            subclass_mode_model=True,
            datamodule_class=StanfordCarsDataModule,
            parser_class=CarsParser,
            trainer_defaults={"callbacks": [one() for one in EVERY_RUN]},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # hyper-parameters stay what __init__ received: plain JSON
            args=args,
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that takes whole option names only: `--trainer.max_epoch` is a mistake, not an abbreviation."""
        return super().init_parser(allow_abbrev=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the classes come from the data, and a test follow a `fit` unless it is not wanted."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Score the test split once, after fit; say false for runs that only help to choose.",
        )
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and say in one line what is wrong."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(one_line(str(error), self._known_keys())) from None

    def _known_keys(self) -> dict[str, str]:
        """List the keys of a config, and the arguments of all tasks with the tasks that have them."""
        keys = {action.dest: "" for parser in self._subcommand_parsers.values() for action in parser._actions}
        for name in TASKS:
            for argument in inspect.signature(import_task(name)).parameters:
                keys[argument] = f"{keys[argument]}, {name}" if keys.get(argument) else f"it is an argument of {name}"
        return keys | dict.fromkeys(inspect.signature(CarsTask).parameters, "")

    def _parse_ckpt_path(self) -> None:
        """Take the network's hyper-parameters from a checkpoint to resume or score, if it holds the same task."""
        config = self.config[self.config.subcommand]
        if self.config.subcommand == "test":
            config.verbose = False  # our own table follows; Lightning's would show the gallery as if it had been scored
        if not config.get("ckpt_path"):
            if self.config.subcommand != "fit" and not config.model.init_args.get("init_from"):
                raise InputError(f"`carsfg {self.config.subcommand}` needs a trained network: name --ckpt_path=FILE")
            return
        checkpoint = read_checkpoint(config.ckpt_path)
        configured = config.model.class_path.rpartition(".")[2]
        if checkpoint["carsfg"]["task"] != configured:
            held = checkpoint["carsfg"]["task"]
            raise InputError(f"{config.ckpt_path} holds a {held}, the config asks for a {configured}")
        for key, value in checkpoint["hyper_parameters"].items():
            if key != "class_names":
                config.model.init_args[key] = value
        self.resumed_classes = checkpoint["hyper_parameters"]["class_names"]

    def instantiate_classes(self) -> None:
        """Build data, task and trainer; pretrained weights are not read where a checkpoint brings them."""
        with skip_weights() if self.resumed_classes else contextlib.nullcontext():
            try:
                super().instantiate_classes()
            except Exception as error:
                raise _mistake_in(error) or error from None
        if self.config.subcommand != "fit" and not self.resumed_classes and self.model.still_random:
            raise InputError(
                f"{self.model.still_random[0]} is not in the checkpoint that init_from names, so there is nothing to "
                "score: name a checkpoint of the same task with --ckpt_path"
            )
        if self.resumed_classes:
            check_classes(self.resumed_classes, self.model.hparams["class_names"])

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        """Log to TensorBoard and CSV in one folder a run, unless the config names its own loggers."""
        if config.get("logger") in (None, True):
            board = TensorBoardLogger(config.get("default_root_dir") or LOGS, self.experiment, default_hp_metric=False)
            table = CSVLogger(board.save_dir, self.experiment, version=board.version, flush_logs_every_n_steps=1)
            config["logger"] = [board, table]
        if config.get("precision") is None and computes_in_bfloat16(config.get("accelerator") or "auto"):
            config["precision"] = "bf16-mixed"
        if config["logger"] and not config.get("fast_dev_run"):
            callbacks.append(LearningRateMonitor(logging_interval="epoch"))
        if config.get("enable_progress_bar") is not False and not _has_progress_bar(config.get("callbacks")):
            callbacks.append(RichProgressBar(refresh_rate=10))  # each refresh waits for the GPU
        return super()._instantiate_trainer(config, callbacks)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb; when a signal ends it, say how to go on (Lightning would leave with code 0 after SIGTERM)."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:
            dirpaths = [getattr(callback, "dirpath", None) for callback in self.trainer.checkpoint_callbacks]
            folders = [Path(dirpath) for dirpath in dirpaths if dirpath]
            saved = sorted((f for folder in folders for f in folder.glob("*.ckpt")), key=lambda f: f.stat().st_mtime)
            way_on = f"go on with --ckpt_path={saved[-1]}" if saved else "no checkpoint was saved yet"
            raise TrainingError(f"stopped before the end; {way_on}") from None

    def after_fit(self) -> None:
        """Test the chosen weights, or the last, and print them beside the report's row."""
        trainer = self.trainer
        wanted = self._get(self.config, "test_after_fit") and not self._get(self.config, "trainer")["fast_dev_run"]
        if trainer.state.status != TrainerStatus.FINISHED or not wanted:
            return
        chosen = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
        # Lightning's own word "best" means the first callback's, whether it chooses or not
        best = chosen[0].best_model_path if chosen else None
        self.validated = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        saving = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
        last = [one.best_model_path for one in saving if one._last_global_step_saved == trainer.global_step]
        self.tested = best or next(iter(last), None)
        if best:
            # by hand: of a checkpoint with averaged weights Lightning, after `fit`, would load those that were averaged
            checkpoint = read_checkpoint(best)
            self.model.load_state_dict(checkpoint["state_dict"])
            self._run_stamp().say_how_made(checkpoint)
        trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.after_test()

    def after_test(self) -> None:
        """Print the figures, and log them with the hyper-parameters."""
        figures = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("test/")}
        stamp = self._run_stamp()
        if not self.trainer.is_global_zero:
            return
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                shown = {key: figures[key] for key in COMPARED_BY if key in figures}
                logger.log_hyperparams(stamp.compared(self.model), shown, step=self.trainer.global_step)
        print_test_table(self.experiment, self.validated | figures, stamp.stamp)
        print_retrieval_table(self.experiment, figures, stamp.stamp)
        if self.tested:
            print(f"checkpoint: {self.tested}\nsearch with it: carsfg index {self.tested} FOLDER --output GALLERY")  # noqa: T201

    def _run_stamp(self) -> RecordRun:
        return next(c for c in self.trainer.callbacks if isinstance(c, RecordRun))  # type: ignore[attr-defined]


def main(args: list[str]) -> int:
    """Run a Trainer verb; `args` begins with it.

    Args:
        args: the words after the program's name, the verb first.
    """
    _quieten()
    torch.set_float32_matmul_precision("high")  # TF32, where a GPU has it and the run is not in bfloat16 anyway
    words, experiment = find_configs(args)
    helps = any(word.startswith(("-h", "--help", "--model", "--print_config")) for word in words)
    if helps:
        for name in TASKS:  # whose names and arguments the help lists
            import_task(name)
    elif experiment in OVERLAYS and str(CONFIGS / f"{experiment}.yaml") == words[words.index("--config") + 1]:
        raise InputError(
            f"{experiment}.yaml is laid over an experiment: --config EXPERIMENT --config {experiment}.yaml"
        )
    elif experiment is None:
        shipped = ", ".join(f"{name}.yaml" for name in shipped_configs() if name not in OVERLAYS)
        raise InputError(f"name an experiment: `carsfg {args[0]} --config NAME`, a file or one of {shipped}")
    try:
        CarsCLI(words, experiment or "carsfg")
    except MisconfigurationException as error:  # Lightning's word for a user's mistake: no GPU, an unknown monitor, ...
        raise InputError(" ".join(str(error).split())) from None
    return 0


def _has_progress_bar(callbacks: Any) -> bool:
    """Whether the config brings a progress bar of its own; it gives no callback, one, or a list."""
    return any(isinstance(one, ProgressBar) for one in (callbacks if isinstance(callbacks, list) else [callbacks]))


def _mistake_in(error: BaseException | None) -> InputError | None:
    """Find the user's mistake under what the parser wraps around it, with a dump of the whole config."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _quieten() -> None:
    """Drop what Lightning says that is no news to our users."""
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # our default is measured, not forgotten
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # we log by the epoch
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", ".*It is recommended to use `self.log.*sync_dist.*")  # all processes log the same
    warnings.filterwarnings("ignore", ".*not supported by the model summary.*")
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # frozen modules are meant to be
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")  # shared by both loggers
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "\N{ELECTRIC LIGHT BULB}" not in record.getMessage()
    )

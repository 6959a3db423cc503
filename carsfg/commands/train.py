"""`carsfg fit | validate | test | predict`: LightningCLI with carsfg's data, tasks, callbacks and error handling."""

import contextlib
import shlex
import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus

from carsfg.callbacks import RecordRun
from carsfg.class_paths import class_path, import_class
from carsfg.commands.known_keys import known_keys
from carsfg.commands.parsing import RaisingErrors, mistake_in, one_line, refused_value
from carsfg.commands.quiet import drop_irrelevant_warnings
from carsfg.commands.resume import (
    ResumedRun,
    check_resumable,
    check_same_task,
    resume_words,
    take_data_settings,
    take_hyper_parameters,
    take_input,
    was_completed,
)  # fmt: skip
from carsfg.commands.run_callbacks import all_callbacks
from carsfg.commands.run_checkpoints import trained_steps
from carsfg.commands.run_folder import check_loggers, check_name, make_loggers, relative
from carsfg.commands.saved_config import SavedConfig
from carsfg.commands.trainer_mistakes import check_trainer, trainer_mistakes, training_mistake
from carsfg.configs import CONFIGS, OVERLAYS, dropped_callbacks, find_configs, names_data, shipped_configs
from carsfg.errors import InputError, TrainingError
from carsfg.hardware import choose_precision
from carsfg.models.backbones import skip_weights
from carsfg.report.run_tables import print_retrieval_table, print_test_table
from carsfg.report.summary import summary_lines
from carsfg.run_record import RunRecord
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import TASKS, check_classes, import_task, read_checkpoint

# of all test metrics, those that TensorBoard compares runs by
COMPARED_METRICS = (
    "test/top1", "test/f1_weighted", "test/f1_macro", "test/loss", "test/retrieval/map_at_r", "test/retrieval/top_1",
)  # fmt: skip


class CarsParser(RaisingErrors, LightningArgumentParser):
    """Raises its errors instead of printing them and exiting."""


class CarsCLI(LightningCLI):
    """LightningCLI for any DataModule with carsfg's batches and any CarsTask; tests once after `fit`.

    Args:
        args: the words after the program's name, configs as paths.
        experiment: name of the folder of the run's experiment.
        resumed: the run to resume, in its own folder.
    """

    def __init__(self, args: list[str], experiment: str, resumed: ResumedRun | None = None) -> None:
        self.experiment, self.resumed = experiment, resumed
        self.known_classes: list[str] | None = None  # of the network in a given checkpoint
        self.only_test = False  # the resumed run needs no more training
        self.tested: str | None = None  # checkpoint of the weights that are tested after `fit`
        self.validated: dict[str, float] = {}  # metrics of the last validation, once `fit` has ended
        try:
            super().__init__(
                model_class=CarsTask,
                subclass_mode_model=True,
                datamodule_class=LightningDataModule,
                subclass_mode_data=True,
                parser_class=CarsParser,
                save_config_callback=SavedConfig,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # hyper-parameters stay what __init__ received: plain JSON
                args=args,
            )
        except SystemExit:  # Lightning's end after a signal, with code 0 after SIGTERM
            if not hasattr(self, "trainer"):  # the parser's end after --help or --print_config
                raise
            raise TrainingError(f"stopped before the end; {self._resume_hint()}") from None
        except (MisconfigurationException, OSError, RuntimeError, MemoryError) as error:
            raise training_mistake(error, getattr(self, "trainer", None), self._resume_hint) or error from None

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that takes whole option names only: `--trainer.max_epoch` is an error, not an abbreviation."""
        return super().init_parser(allow_abbrev=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add carsfg's own options, and take the classes of the network from the data."""
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Score the test split once after fit; use false for runs that only compare settings.",
        )
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run's folder, instead of version_N."
        )
        parser.add_argument(  # `resume_words` replaces it before this parser sees the words
            "--resume",
            type=str,
            default=SUPPRESS,
            metavar="RUN",
            help="With fit: continue the run in this folder; --ckpt_path=best starts at its best checkpoint.",
        )
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and report errors in one line."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(one_line(str(error), known_keys())) from None
        config = self.config[self.config.subcommand]
        if config.seed_everything is not True and not 0 <= int(config.seed_everything) < 2**32:
            raise InputError(f"seed_everything {config.seed_everything} must be 0 to {2**32 - 1}")
        # set aside, else Lightning would merge the hyper-parameters of the checkpoint into the config by itself
        self.ckpt_path, config.ckpt_path = config.ckpt_path, None

    def before_instantiate_classes(self) -> None:
        """Complete the configuration, so that the saved `config.yaml` holds what is used."""
        config = self.config[self.subcommand]
        if self.subcommand == "test":
            config.verbose = False  # our own table follows; Lightning's would show the gallery as if it had been scored
        check_trainer(config.trainer)
        if config.trainer.precision is None:
            config.trainer.precision = choose_precision(config.trainer.accelerator)
        config.ckpt_path = self.ckpt_path
        self.run_name, config.name = config.name, None  # the saved config is also used for further runs
        if self.run_name is not None and self.resumed is None:
            check_name(config.trainer.default_root_dir, self.experiment, self.run_name)
        self._take_hyper_parameters(config)
        for line in [] if self.known_classes else take_input(config.model.init_args):
            print(line, file=sys.stderr)  # noqa: T201

    def _take_hyper_parameters(self, config: Any) -> None:
        """Take the hyper-parameters of the network from a checkpoint to resume or score, if it holds the same task."""
        if not config.get("ckpt_path"):
            if self.subcommand != "fit" and not config.model.init_args.get("init_from"):
                raise InputError(f"`carsfg {self.subcommand}` needs a trained network: name --ckpt_path=FILE")
            return
        checkpoint = read_checkpoint(config.ckpt_path)
        # a run that ended before its test continues with the test
        self.only_test = self.resumed is not None and config.test_after_fit and not self.resumed.is_tested()
        self.only_test &= was_completed(checkpoint, config.trainer.max_epochs, config.trainer.max_steps)
        if self.subcommand == "fit" and not self.only_test:
            check_resumable(checkpoint, config.ckpt_path, config.trainer.max_epochs, config.trainer.max_steps)
        check_same_task(checkpoint, config.ckpt_path, config.model.class_path)
        taken = take_hyper_parameters(checkpoint["hyper_parameters"], config.model.init_args)
        kept = take_data_settings(RunRecord.from_dict(checkpoint["carsfg"].get("record", {})), config.data)
        for source, lines in (("checkpoint", taken), ("config", kept)):
            if lines:
                print(f"taken from the {source}: {'; '.join(lines)}", file=sys.stderr)  # noqa: T201
        self.known_classes = checkpoint["hyper_parameters"]["class_names"]

    def instantiate_classes(self) -> None:
        """Build data, task and trainer; pretrained weights are not read if a checkpoint brings them."""
        with skip_weights() if self.known_classes else contextlib.nullcontext():
            try:
                super().instantiate_classes()
            except Exception as error:
                raise mistake_in(error) or refused_value(error) or error from None
        if self.subcommand != "fit" and not self.known_classes and self.model.still_random:
            raise InputError(
                f"{self.model.still_random[0]} is not in the checkpoint that init_from names, so there is nothing to "
                "score: name a checkpoint of the same task with --ckpt_path"
            )
        if self.subcommand != "fit" and not self.known_classes:  # no training of this run made the weights
            self._recorder().load_record(read_checkpoint(self.model.hparams["init_from"]))
        if self.known_classes:
            check_classes(self.known_classes, self.model.hparams["class_names"])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with carsfg's loggers and callbacks beside those of the config.

        Args:
            **kwargs: further arguments of the trainer.
        """
        config, words = self.config_init[self.subcommand].trainer, self.config[self.subcommand]
        loggers: Any = False
        if not config.fast_dev_run:
            root, parent, run = config.default_root_dir, self.experiment, self.run_name
            if self.resumed is not None:
                root, parent, run = self.resumed.root, self.resumed.parent, self.resumed.name
                self.resumed.keep_metrics()
            loggers = make_loggers(config.logger, root, parent, run) or False
            if self.resumed is None:
                check_loggers(loggers or [])
        asked = words.trainer.callbacks or []
        arguments = _arguments(asked if isinstance(asked, list) else [asked])
        record = RecordRun(self.experiment, arguments, words.data.get("init_args") or {})
        callbacks = all_callbacks(config, record, bool(loggers))
        with trainer_mistakes():
            return super().instantiate_trainer(logger=loggers, callbacks=callbacks, **kwargs)

    def _resume_hint(self) -> str:
        """Return how to resume a run that was stopped."""
        trainer = getattr(self, "trainer", None)
        folder = trainer.log_dir if trainer is not None and trainer.loggers else None
        if self.subcommand != "fit" or folder is None or not Path(folder, "config.yaml").is_file():
            return "start it again"
        return f"resume it: carsfg fit --resume {shlex.quote(str(relative(folder)))}"

    def after_fit(self) -> None:
        """Test the chosen weights, or the last ones, and print them beside the paper's row."""
        trainer, config = self.trainer, self.config[self.subcommand]
        if trainer.state.status != TrainerStatus.FINISHED or config.trainer.fast_dev_run:
            return
        saving = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
        # Lightning's own word "best" means the first callback's, whether it chooses or not
        best = next((one.best_model_path for one in saving if one.monitor), None)
        if best and self.only_test and self.resumed is not None:  # the folder may have been moved since
            best = str(self.resumed.folder / "checkpoints" / Path(best).name)
        self.validated = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        last = [one.best_model_path for one in saving if not one.monitor and one.best_model_path]
        last = [config.ckpt_path] if self.only_test else last
        self.tested = best or next((path for path in last if trained_steps(path) == trainer.global_step), None)
        if not config.test_after_fit:
            self._print_checkpoint()
            return
        if best or (self.only_test and self.tested):
            # by hand: of a checkpoint with averaged weights Lightning, after `fit`, would load those that were averaged
            checkpoint = read_checkpoint(str(self.tested))
            self.model.load_state_dict(checkpoint["state_dict"])
            self._recorder().load_record(checkpoint)
        trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self.after_test()

    def after_test(self) -> None:
        """Print the test metrics, and log them with the hyper-parameters."""
        metrics = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("test/")}
        recorder, folder = self._recorder(), self.trainer.log_dir  # a collective call: all processes need it
        if not self.trainer.is_global_zero:
            return
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                shown = {key: metrics[key] for key in COMPARED_METRICS if key in metrics}
                logger.log_hyperparams(recorder.compared(), shown, step=self.trainer.global_step)
        print_test_table(recorder.record, self.validated | metrics)
        print_retrieval_table(recorder.record, metrics)
        if self.trainer.loggers and folder:
            for line in summary_lines(Path(folder)):
                print(line)  # noqa: T201
        self._print_checkpoint()

    def _print_checkpoint(self) -> None:
        if self.tested and self.trainer.is_global_zero:
            path = shlex.quote(str(relative(self.tested)))
            print(f"checkpoint: {path}\nsearch with it: carsfg index {path} FOLDER --output GALLERY")  # noqa: T201

    def _recorder(self) -> RecordRun:
        return next(c for c in self.trainer.callbacks if isinstance(c, RecordRun))  # type: ignore[attr-defined]


def main(args: list[str]) -> int:
    """Run a verb of the Trainer.

    Args:
        args: the words after `carsfg`, the verb first.
    """
    drop_irrelevant_warnings()
    torch.set_float32_matmul_precision("high")  # TF32, where a GPU has it and the run is not in bfloat16 anyway
    args, resumed = resume_words(args)
    words, experiment = find_configs(args)
    if any(word.startswith(("-h", "--help", "--model.help", "--data.help", "--print_config")) for word in words):
        for name in TASKS:  # whose names and arguments the help lists
            import_task(name)
    elif experiment in OVERLAYS and str(CONFIGS / f"{experiment}.yaml") == words[words.index("--config") + 1]:
        raise InputError(
            f"{experiment}.yaml is an overlay, not an experiment: use --config EXPERIMENT --config {experiment}.yaml"
        )
    elif experiment is None:
        shipped = ", ".join(f"{name}.yaml" for name in shipped_configs() if name not in OVERLAYS)
        raise InputError(f"name an experiment: `carsfg {args[0]} --config NAME`, a file or one of {shipped}")
    import_class("carsfg.PhotoDataModule")  # so that `--data=PhotoDataModule` is understood
    if not names_data(words):  # not as a default of the parser, which would leave its arguments to another class
        words.insert(1, "--data=carsfg.StanfordCarsDataModule")
    for line in dropped_callbacks(words):
        print(line, file=sys.stderr)  # noqa: T201
    try:
        CarsCLI(words, resumed.experiment if resumed else experiment or "carsfg", resumed)
    except MisconfigurationException as error:  # Lightning's word for a user's mistake: no GPU, an unknown monitor, ...
        raise InputError(" ".join(str(error).split())) from None
    return 0


def _arguments(callbacks: list[Any]) -> dict[str, Any]:
    """Return the arguments of the configured callbacks by the class path that their objects have."""
    return {class_path(import_class(one.class_path)): one.get("init_args") or {} for one in callbacks}

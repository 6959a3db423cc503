"""`carsfg fit | validate | test | predict`: LightningCLI with our data, tasks, callbacks and manners."""

import re
import warnings
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus

from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.callbacks.stamp import RunStamp
from carsfg.configuration import find_configs
from carsfg.data.datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from carsfg.models.backbones import skip_weights
from carsfg.report.tables import print_test_table
from carsfg.tasks.base import CarsTask
from carsfg.tasks.loading import read_checkpoint

LOGS = "lightning_logs"


class CarsParser(LightningArgumentParser):
    """Says what is wrong with a command line or config in one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> Any:  # noqa: ANN401, ARG002
        """Raise the parser's finding as an `InputError`."""
        raise InputError(_one_line(message))


class CarsCLI(LightningCLI):
    """LightningCLI for one DataModule and any task; tests once after `fit`."""

    def __init__(self, args: list[str], experiment: str) -> None:
        self.experiment = experiment
        super().__init__(
            model_class=CarsTask,
            subclass_mode_model=True,
            datamodule_class=StanfordCarsDataModule,
            parser_class=CarsParser,
            trainer_defaults={"callbacks": [RunStamp(), ConfusionMatrix()]},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # hyper-parameters stay what __init__ received: plain JSON
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the classes come from the data."""
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; without Lightning's warning about words that are not this process's own."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]

    def _parse_ckpt_path(self) -> None:
        """Take the network's hyper-parameters from a checkpoint to resume or score, if it holds the same task."""
        config = self.config[self.config.subcommand]
        if not config.get("ckpt_path"):
            return
        checkpoint = read_checkpoint(config.ckpt_path)
        configured = config.model.class_path.rpartition(".")[2]
        if checkpoint["carsfg"]["task"] != configured:
            held = checkpoint["carsfg"]["task"]
            raise InputError(f"{config.ckpt_path} holds a {held}, the config asks for a {configured}")
        for key, value in checkpoint["hyper_parameters"].items():
            if key != "class_names":
                config.model.init_args[key] = value

    def instantiate_classes(self) -> None:
        """Build data, task and trainer; pretrained weights are not read where a checkpoint brings them."""
        if self.config[self.config.subcommand].get("ckpt_path"):
            with skip_weights():
                super().instantiate_classes()
        else:
            super().instantiate_classes()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        """Log to TensorBoard and CSV in one folder a run, unless the config names its own loggers."""
        if config.get("logger") in (None, True):
            board = TensorBoardLogger(config.get("default_root_dir") or LOGS, self.experiment, default_hp_metric=False)
            table = CSVLogger(board.save_dir, self.experiment, version=board.version)
            config["logger"] = [board, table]
        if config["logger"] and not config.get("fast_dev_run"):
            callbacks.append(LearningRateMonitor(logging_interval="epoch"))
        return super()._instantiate_trainer(config, callbacks)

    def after_fit(self) -> None:
        """Test the chosen weights, or the last, and print them beside the report's row."""
        trainer = self.trainer
        if trainer.state.status != TrainerStatus.FINISHED or trainer.fast_dev_run:
            return
        chosen = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
        trainer.test(self.model, datamodule=self.datamodule, ckpt_path="best" if chosen else None, verbose=False)
        self.after_test()

    def after_test(self) -> None:
        """Print the figures, and log them with the hyper-parameters."""
        figures = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("test/")}
        stamp = next(c for c in self.trainer.callbacks if isinstance(c, RunStamp)).stamp  # type: ignore[attr-defined]
        if not self.trainer.is_global_zero:
            return
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                hyper_parameters = {k: v for k, v in self.model.hparams.items() if k != "class_names"}
                logger.log_hyperparams({**hyper_parameters, **stamp}, figures)
        print_test_table(self.experiment, figures, stamp)


def main(args: list[str]) -> int:
    """Run a Trainer verb; `args` begins with it."""
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # our default is measured, not forgotten
    words, experiment = find_configs(args)
    cli = CarsCLI(words, experiment or "carsfg")
    return 1 if cli.trainer.received_sigterm else 0


def _one_line(message: str) -> str:
    """Keep what a parser's message says and drop the usage and the list of all keys around it."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return re.sub(r"\s+", " ", " ".join(lines))

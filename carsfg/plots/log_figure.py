"""Send a figure to the loggers of a run, by the public interface of each kind of logger."""

from collections.abc import Callable
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def takes_figures(trainer: Trainer) -> bool:
    """Return whether any logger of a run takes figures, so that one is worth drawing.

    Args:
        trainer: the Lightning trainer whose loggers are asked.
    """
    return any(_sender(logger) for logger in trainer.loggers)


def log_figure(trainer: Trainer, tag: str, figure: Figure) -> None:
    """Log a figure at the current step; loggers of other kinds than TensorBoard, W&B and MLflow are skipped.

    Call it in the first process only, as the loggers' own methods for metrics do.

    Args:
        trainer: the Lightning trainer whose loggers are asked.
        tag: name of the figure, such as `val/confusion_matrix`.
        figure: the figure; it stays open.
    """
    for logger in trainer.loggers:
        send = _sender(logger)
        if send is not None:
            send(logger, tag, figure, trainer.global_step)


def _tensorboard(logger: Any, tag: str, figure: Figure, step: int) -> None:
    logger.experiment.add_figure(tag, figure, step, close=False)


def _wandb(logger: Any, tag: str, figure: Figure, step: int) -> None:
    logger.log_image(tag, [_picture(figure)], step=step)  # the step becomes `trainer/global_step`, W&B counts its own


def _mlflow(logger: Any, tag: str, figure: Figure, step: int) -> None:
    logger.experiment.log_figure(logger.run_id, figure, f"{tag}/{step:08d}.png")


SENDERS: dict[type[Logger], Callable[[Any, str, Figure, int], None]] = {
    TensorBoardLogger: _tensorboard,
    WandbLogger: _wandb,
    MLFlowLogger: _mlflow,
}


def _picture(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]


def _sender(logger: Logger) -> Callable[[Any, str, Figure, int], None] | None:
    return next((send for kind, send in SENDERS.items() if isinstance(logger, kind)), None)

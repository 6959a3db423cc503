"""Figures go to each logger by its public interface; wandb and mlflow are replaced by stand-ins."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure
from PIL import Image

from carsfg.plots.log_figure import log_figure, takes_figures


def stand_in(kind: type[Logger]) -> Any:
    """A logger of a class whose package may be missing."""
    return kind.__new__(kind)


def run(*loggers: Any) -> Any:
    return SimpleNamespace(loggers=loggers, global_step=7)


def test_tensorboard() -> None:
    logger, figure = stand_in(TensorBoardLogger), Figure()
    with patch.object(TensorBoardLogger, "experiment", new_callable=PropertyMock) as experiment:
        log_figure(run(logger), "val/matrix", figure)
    experiment.return_value.add_figure.assert_called_once_with("val/matrix", figure, 7, close=False)


def test_weights_and_biases() -> None:
    logger, figure = stand_in(WandbLogger), Figure(figsize=(4, 2), dpi=100, facecolor="red")
    with patch.object(WandbLogger, "log_image", autospec=True) as log_image:
        log_figure(run(logger), "val/matrix", figure)
    (_, tag, (picture,)), keywords = log_image.call_args
    assert (tag, keywords) == ("val/matrix", {"step": 7})
    assert isinstance(picture, Image.Image)  # wandb documents PIL images, not figures
    assert picture.size == (400, 200)
    assert picture.getpixel((1, 1)) == (255, 0, 0)


def test_mlflow() -> None:
    logger, figure = stand_in(MLFlowLogger), Figure()
    with (
        patch.object(MLFlowLogger, "experiment", new_callable=PropertyMock) as experiment,
        patch.object(MLFlowLogger, "run_id", new_callable=PropertyMock, return_value="abc"),
    ):
        log_figure(run(logger), "val/matrix", figure)
    experiment.return_value.log_figure.assert_called_once_with("abc", figure, "val/matrix/00000007.png")


def test_other_loggers_get_nothing(tmp_path: Any) -> None:
    trainer = run(CSVLogger(tmp_path))
    log_figure(trainer, "val/matrix", Figure())
    assert not takes_figures(trainer)
    assert not takes_figures(run())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [TensorBoardLogger, WandbLogger, MLFlowLogger])
def test_a_logger_among_others_takes_figures(kind: type[Logger], tmp_path: Any) -> None:
    assert takes_figures(run(CSVLogger(tmp_path), stand_in(kind)))

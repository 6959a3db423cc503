"""`carsfg export` from a checkpoint on."""

from pathlib import Path

import pytest

from carsfg.cli import main
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, MakeCars, MakeTrainer


def test_a_checkpoint_becomes_a_file(
    make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), make_cars())
    trainer.save_checkpoint(tmp_path / "cnn.ckpt")
    capsys.readouterr()
    assert main(["export", str(tmp_path / "cnn.ckpt"), str(tmp_path / "cnn.onnx")]) == 0
    assert "agrees with the checkpoint to" in capsys.readouterr().out
    assert (tmp_path / "cnn.onnx").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.ckpt", "car.onnx"], "no checkpoint nowhere.ckpt"),
        (["nowhere.ckpt", "no/folder/car.onnx"], "cannot write no/folder/car.onnx: there is no such folder"),
        (["nowhere.ckpt"], "the following arguments are required: output"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words]) == 2
    assert said in capsys.readouterr().err

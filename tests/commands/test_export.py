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
    assert main(["export", str(tmp_path / "cnn.ckpt"), f"--output={tmp_path / 'cnn.onnx'}"]) == 0
    assert "differs from the checkpoint by at most" in capsys.readouterr().out
    assert (tmp_path / "cnn.onnx").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (
            ["nowhere.ckpt", "--output=no/folder/car.onnx"],
            "cannot write 'no/folder/car.onnx': the folder does not exist",
        ),
        (["nowhere.ckpt", "--output=."], "cannot write '.': it is a folder"),
        (["nowhere.ckpt", f"--output={'x' * 300}"], "File name too long"),
        (["nowhere.ckpt", "car.onnx"], "unknown argument 'car.onnx'"),
        ([], "the following arguments are required: checkpoint; see `carsfg export --help`"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words]) == 2
    assert said in capsys.readouterr().err

"""Callbacks of a run, and the names of its checkpoints."""

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from carsfg.commands.run_callbacks import name_without_folders


@pytest.mark.parametrize(
    ("pattern", "inserts", "expected"),
    [
        ("{epoch}-{val/loss:.2f}", True, "epoch=3-val_loss=0.25"),
        ("{epoch}-{val/loss:.2f}", False, "3-0.25"),
        ("best/{epoch}", True, "best/epoch=3"),  # a folder that was asked for
        (None, True, "epoch=3-step=7"),
    ],
)
def test_metrics_in_file_names_make_no_folders(pattern: str | None, inserts: bool, expected: str) -> None:
    checkpoint = ModelCheckpoint(filename=pattern, auto_insert_metric_name=inserts)
    name_without_folders(checkpoint)
    metrics = {"epoch": 3, "step": 7, "val/loss": 0.25}
    assert checkpoint.format_checkpoint_name(metrics) == f"{expected}.ckpt"  # type: ignore[arg-type]

"""Checkpoint files are complete or not there."""

from pathlib import Path

import pytest
import torch

from carsfg.callbacks.whole_checkpoints import WholeCheckpoints
from carsfg.errors import TrainingError


def test_a_file_that_exists_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"a": 1}, path)
    save = torch.save

    def fill(checkpoint: object, beside: Path) -> None:
        save(checkpoint, beside)
        beside.write_bytes(beside.read_bytes()[:100])
        assert torch.load(path, weights_only=True) == {"a": 1}
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*last\.ckpt: Pytorch.*failed; free space"):
        WholeCheckpoints().save_checkpoint({"a": 2}, path)
    monkeypatch.undo()
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]
    WholeCheckpoints().save_checkpoint({"a": 2}, path)
    assert WholeCheckpoints().load_checkpoint(path, weights_only=True) == {"a": 2}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*: (File exists|Not a directory); free"):
        WholeCheckpoints().save_checkpoint({}, tmp_path / "checkpoints" / "last.ckpt")

"""The newest whole checkpoint of a run, whatever happened to the others."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.commands.run_checkpoints import best_checkpoint, last_checkpoint
from carsfg.errors import InputError


def save(folder: Path, name: str, seconds: int, **parts: Any) -> Path:
    """Write what a checkpoint has, and let it be that many seconds old at the epoch of Unix."""
    path = folder / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    known: dict[str, Any] = {"carsfg": {}, "hyper_parameters": {}, "state_dict": {"a": torch.arange(1000)}}
    torch.save({**known, "loops": {}, "optimizer_states": [], **parts}, path)
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    save(tmp_path, "last.ckpt", 10)
    newest = save(tmp_path, "epoch=1.ckpt", 20)
    save(tmp_path, "epoch=0.ckpt", 5)
    assert last_checkpoint(tmp_path) == str(newest)


def test_bits_that_turned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, newest = save(tmp_path, "before.ckpt", 10), save(tmp_path, "newest.ckpt", 20)
    content = bytearray(newest.read_bytes())
    content[content.index(torch.arange(1000).numpy().tobytes()[:800]) + 400] ^= 1
    newest.write_bytes(content)
    torch.load(newest, weights_only=True)  # which does not notice
    assert last_checkpoint(tmp_path) == str(before)
    said = capsys.readouterr().err
    assert said.startswith(f"{newest} is damaged: the checksum of its part 'newest/data/0' differs; using the one")


def test_weights_alone_are_not_resumed_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = save(tmp_path, "whole.ckpt", 10)
    torch.save({"carsfg": {}, "hyper_parameters": {}, "state_dict": {}}, whole.with_name("weights.ckpt"))
    assert last_checkpoint(tmp_path) == str(whole)
    whole.unlink()
    assert last_checkpoint(tmp_path) == str(whole.with_name("weights.ckpt"))
    assert capsys.readouterr().err == ""


def test_all_are_damaged(tmp_path: Path) -> None:
    for name in ("one.ckpt", "other.ckpt"):
        save(tmp_path, name, 10).write_bytes(b"PK")
    for find in (last_checkpoint, best_checkpoint):
        with pytest.raises(InputError, match=r"it is damaged.*; .* has no other checkpoint, so start a new run"):
            find(tmp_path)


def test_the_best(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    best = save(tmp_path, "best.ckpt", 10)
    save(tmp_path, "last.ckpt", 20, callbacks={"a": {"monitor": "val/loss", "best_model_path": "/moved/best.ckpt"}})
    assert best_checkpoint(tmp_path) == str(best)
    best.unlink()
    with pytest.raises(InputError, match="no best checkpoint"):
        best_checkpoint(tmp_path)

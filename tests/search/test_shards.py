"""Results of an interrupted index: kept, continued to the same bytes, and discarded when anything differs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.data.image_folder import find_photos
from carsfg.search import shards
from carsfg.search.build import embed_photos
from carsfg.search.embedded import EmbeddedPhotos
from carsfg.search.shards import remove_shards, shards_folder
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES


@pytest.fixture(scope="module")
def task() -> CarCNN:
    return network(0)


def network(seed: int) -> CarCNN:
    torch.manual_seed(seed)
    return CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images of noise; the fifth and the last two are no images."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 40, 50, 3), np.uint8)
    (tmp_path / "cars").mkdir()
    for place, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"cars/{place:02}.png")
    for place in (4, 18, 19):
        (tmp_path / f"cars/{place:02}.png").write_text("nothing to see")
    return tmp_path / "cars"


class StopError(Exception):
    """Ends a call in the middle, as a kill does."""


def embed(task: CarCNN, folder: Path, keep: Path | None, stop_after: int = 100, **kwargs: Any) -> EmbeddedPhotos:
    """Embed in batches of 3; raises StopError before the batch after `stop_after`."""
    passes = 0
    real = task.embed

    def counted(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        nonlocal passes
        passes += 1
        if passes > stop_after:
            raise StopError
        return real(batch)

    task.embed = counted  # type: ignore[method-assign]
    try:
        given = {"batch_size": 3, "progress": False, "keep": keep, **kwargs}
        return embed_photos(task, find_photos(folder), 32, **given)
    finally:
        task.embed = real  # type: ignore[method-assign]


def same(one: EmbeddedPhotos, other: EmbeddedPhotos) -> bool:
    """Whether two results are the same to the last bit."""
    rest = [(each.places, each.jpegs, each.complaints, each.boxes) for each in (one, other)]
    return torch.equal(one.embeddings, other.embeddings) and rest[0] == rest[1]


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    return shards_folder(tmp_path / "gallery", "images")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file after every batch."""
    monkeypatch.setattr(shards, "SHARD_SECONDS", 0.0)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(("stops", "place"), [([1], 3), ([3], 10), ([5], 16), ([2, 1, 2], 16)])
def test_what_follows_an_interruption_is_the_same(
    stops: list[int], place: int, task: CarCNN, folder: Path, keep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fifth image is none, so that the second batch ends one place later."""
    for stop in stops:
        with pytest.raises(StopError):
            embed(task, folder, keep, stop)
    capsys.readouterr()
    assert same(embed(task, folder, keep, stop_after=6 - sum(stops)), embed(task, folder, None))
    assert capsys.readouterr().err == f"going on from {place} of 20 images, which an interrupted run has dealt with\n"


@pytest.mark.usefixtures("often")
def test_a_complete_run_is_not_repeated(task: CarCNN, folder: Path, keep: Path) -> None:
    first = embed(task, folder, keep)
    assert same(embed(task, folder, keep, stop_after=0), first)


def test_short_work_leaves_no_files(task: CarCNN, folder: Path, keep: Path) -> None:
    with pytest.raises(StopError):
        embed(task, folder, keep, 4)
    assert not keep.exists()
    embed(task, folder, keep)
    assert not keep.exists()


def touch(folder: Path) -> None:
    os.utime(folder / "17.png", ns=(1, 1))


def remove_last(folder: Path) -> None:
    (folder / "17.png").unlink()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("change", "kwargs", "named"),
    [
        (touch, {}, "images"),
        (remove_last, {}, "images"),
        (None, {"batch_size": 4}, "batch size"),
        (None, {"bfloat16": True}, "precision"),
        (None, {"pictures": False}, "small pictures"),
        (None, {"task": network(1)}, "network"),
    ],
)
def test_other_facts_discard(
    change: Callable[[Path], None] | None,
    kwargs: dict[str, Any],
    named: str,
    task: CarCNN,
    folder: Path,
    keep: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(StopError):
        embed(task, folder, keep, 2)
    if change:
        change(folder)
    other = {"task": task, **kwargs}
    capsys.readouterr()
    found = embed(**other, folder=folder, keep=keep)
    assert capsys.readouterr().err == f"discarding 6 images of an interrupted run, which had other {named}\n"
    assert same(found, embed(**other, folder=folder, keep=None))


@pytest.mark.usefixtures("often")
def test_a_damaged_file_ends_what_is_taken(task: CarCNN, folder: Path, keep: Path) -> None:
    with pytest.raises(StopError):
        embed(task, folder, keep, 4)
    files = sorted(keep.iterdir())
    assert [path.name for path in files] == [
        "000000000000.npz",
        "000000000003.npz",
        "000000000007.npz",
        "000000000010.npz",
    ]
    data = bytearray(files[1].read_bytes())
    data[len(data) // 2] ^= 1
    files[1].write_bytes(data)
    (keep / ".writing-1.npz").write_bytes(b"half")
    assert same(embed(task, folder, keep), embed(task, folder, None))
    with pytest.raises(StopError):
        embed(task, folder, keep, -1, batch_size=5)  # discards
    assert not list(keep.iterdir())


@pytest.mark.usefixtures("often")
def test_nothing_of_anyone_else_is_deleted(task: CarCNN, folder: Path, keep: Path) -> None:
    embed(task, folder, keep)
    (keep / "mine.npz").write_bytes(b"mine")
    remove_shards(keep)
    assert [path.name for path in keep.iterdir()] == ["mine.npz"]
    (keep / "mine.npz").unlink()
    remove_shards(keep)
    assert not keep.parent.exists()


@pytest.mark.usefixtures("often")
def test_a_folder_that_cannot_be_written_is_said_once(
    task: CarCNN, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    found = embed(task, folder, tmp_path / "file/images")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cannot keep results in {tmp_path / 'file/images'} (")
    assert same(found, embed(task, folder, None))


@pytest.mark.usefixtures("often")
def test_ctrl_c_says_that_the_command_goes_on(
    task: CarCNN, folder: Path, keep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.StopError", KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        embed(task, folder, keep, 2)
    assert capsys.readouterr().err == "stopped after 7 images: the same command goes on from 7\n"

"""`carsfg index` that is killed: the next identical command goes on, and the gallery is the same to the last byte."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands.conftest import checkpoint

# a file after every batch instead of every 20 seconds, and batches that take a while
PROGRAM = """
import signal, sys, time
from carsfg.cli import entry_point
from carsfg.search import shards
from carsfg.tasks.cnn import CarCNN

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
shards.SHARD_SECONDS = 0.0
embed, pause = CarCNN.embed, float(sys.argv.pop(1))
CarCNN.embed = lambda self, batch: (time.sleep(pause), embed(self, batch))[1]
sys.argv.insert(1, "index")
entry_point()
"""
COUNT, BATCH = 30, 2


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of `carsfg index`, without the output: large JPEGs and others, one of which is cut off."""
    folder, noise = tmp_path_factory.mktemp("cars"), np.random.default_rng(0)
    for place in range(COUNT):
        pixels = Image.fromarray(noise.integers(0, 256, (90, 120, 3), np.uint8))
        (pixels.resize((1200, 900)) if place % 3 else pixels).save(folder / f"{place:02}.jpg")
    (folder / "07.jpg").write_bytes((folder / "07.jpg").read_bytes()[:2000])
    network = checkpoint(tmp_path_factory.mktemp("network") / "cnn.ckpt")
    return [str(network), str(folder), f"--batch_size={BATCH}", "--device=cpu", "--precision=32-true"]


def start(words: list[str], output: Path, pause: float) -> "subprocess.Popen[str]":
    given = [sys.executable, "-c", PROGRAM, str(pause), *words, f"--output={output}"]
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shards(output: Path) -> list[Path]:
    return sorted((output.parent / f"{output.name}.unfinished/images").glob("0*.npz"))


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a gallery whose making was not interrupted."""
    output = tmp_path_factory.mktemp("whole") / "gallery"
    process = start(words, output, 0)
    assert process.wait() == 0
    return files(output)


def interrupt(words: list[str], output: Path, number: signal.Signals, least: int, further: float) -> str:
    """Send a signal once so many files exist, and a while after that; return what was said."""
    process = start(words, output, 0.1)
    while len(shards(output)) < least and process.poll() is None:
        time.sleep(0.01)
    time.sleep(further)
    process.send_signal(number)
    return process.communicate()[1]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_gallery_after_an_interruption(
    number: signal.Signals, words: list[str], whole: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "gallery"
    said = interrupt(words, output, number, 3, 0.05)
    assert not output.exists()
    kept = len(shards(output))
    assert 3 <= kept < COUNT // BATCH
    assert ("the same command goes on from" in said) is (number != signal.SIGKILL)
    process = start(words, output, 0)
    _, said = process.communicate()
    assert process.returncode == 0
    assert f"going on from {2 * kept + (kept > 3)} of 30 images, which an interrupted run has dealt with" in said
    assert files(output) == whole
    assert not output.with_name("gallery.unfinished").exists()


@pytest.mark.slow
def test_thirty_kills_at_random_moments(words: list[str], whole: dict[str, bytes], tmp_path: Path) -> None:
    """Also while a file is written, and before the first; several in a row for one gallery."""
    draw = random.Random(0)  # noqa: S311
    for number in range(30):
        output = tmp_path / f"gallery {number}"
        for _ in range(draw.randint(1, 3)):
            interrupt(words, output, signal.SIGKILL, draw.randint(0, 12), draw.random() * 0.3)
        process = start(words, output, 0)
        process.communicate()
        assert process.returncode in (0, 2)  # 2: it was complete before it was killed
        assert files(output) == whole

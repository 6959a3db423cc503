"""File-handle limits, folders without write permission, names that are not UTF-8, SIGTERM, two processes at once."""

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from carsfg.cli import entry_point, main
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.tasks.cnn import CarCNN
from tests.faults.children import error_line, limited, needs_fork, run, start, unprivileged
from tests.faults.conftest import Verb, write_photo

pytestmark = needs_fork
HANDLES = 64


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_with_few_file_handles(workers: int, fit: Verb) -> None:
    words = ["--trainer.max_epochs=2", f"--data.num_workers={workers}"]
    code, said = run(limited(resource.RLIMIT_NOFILE, HANDLES, lambda: fit(*words)))
    assert code == 0, said


@pytest.mark.usefixtures("folder")
def test_a_gallery_with_few_file_handles(network: Path) -> None:
    """Of more photos than handles."""
    for seed in range(100):
        write_photo(Path(f"many/{seed:03}.png"), seed)

    def work() -> int:
        made = main(["index", str(network), "many", "--output=cars", "--device=cpu"])
        return made or main(["search", "cars", "many", "--device=cpu", "--json"])

    code, said = run(limited(resource.RLIMIT_NOFILE, HANDLES, work))
    assert code == 0, said
    assert "left out" not in said


@pytest.mark.usefixtures("folder")
def test_too_few_file_handles_are_one_line(network: Path) -> None:
    words = ["index", str(network), "photos", "--output=cars", "--device=cpu"]
    code, said = run(limited(resource.RLIMIT_NOFILE, 4, lambda: main(words)))
    assert code in (1, 2)
    assert "Too many open files" in error_line(said)


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that nothing can be written to."""
    place = folder / "readonly"
    place.mkdir()
    yield place
    place.chmod(0o700)


def test_data_that_cannot_be_written_to(root: Path, folder: Path) -> None:
    """A training names the setting, and needs nothing else: its caches lie elsewhere then."""
    place = folder / "readonly"
    shutil.copytree(root, place)
    places = [place, *(path for path in place.rglob("*") if path.is_dir())]
    for path in places:
        path.chmod(0o500)
    words = ["fit", "--config=small", f"--data.root={place}", "--trainer.max_epochs=1", "--test_after_fit=false"]
    try:
        code, said = run(unprivileged(lambda: main(words)))
        assert code == 0 or (code == 2 and "set `data.cache_dir` to a writable folder" in error_line(said)), said
        code, said = run(unprivileged(lambda: main([*words, "--data.cache_dir=caches"])))
        assert code == 0, said
    finally:
        for path in places:
            path.chmod(0o700)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["index", "NETWORK", "photos", "--output=readonly/cars"], "cannot write a gallery to "),
        (["embed", "NETWORK", "photos", "--output=readonly/e.npy"], "cannot write 'readonly/e.npy': no permission"),
        (["predict", "NETWORK", "photos", "--output=readonly/p.csv"], "cannot write 'readonly/p.csv': no permission"),
        (["data", "draw", "readonly"], "cannot write"),
        (["fit", "--config=small", "--trainer.default_root_dir=readonly"], "cannot write the log folder 'readonly/"),
    ],
)
def test_a_place_that_cannot_be_written_to(
    words: list[str], said: str, read_only: Path, root: Path, network: Path
) -> None:
    read_only.chmod(0o500)
    given = [str(network) if word == "NETWORK" else word for word in words]
    given += {"data": [], "fit": [f"--data.root={root}"]}.get(words[0], ["--device=cpu"])
    code, text = run(unprivileged(lambda: main(given)))
    assert (code, said in error_line(text)) == (2, True), text
    assert list(read_only.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_class_folders_whose_names_are_not_utf_8() -> None:
    """Old archives have them: such classes are learned, scored, indexed, searched and reported."""
    for seed in range(24):
        name = os.fsdecode((b"caf\xe9", b"Corsa", b"\xff\xfe")[seed % 3])
        write_photo(Path("named") / name / f"{os.fsdecode(bytes([0xE0 + seed % 5]))}{seed}.png", seed)
    model = ["--model=carsfg.CarCNN", "--model.widths=[4]", "--model.image_size=16"]
    data = ["--data=carsfg.PhotoDataModule", "--data.root=named", "--data.batch_size=4", "--data.cache_dir=caches"]
    Path("empty.yaml").write_text("trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}\n")
    code, said = run(lambda: main(["fit", "--config=empty", *model, *data]))
    assert code == 0, said
    (checkpoint,) = Path("lightning_logs").rglob("epoch*.ckpt")
    gallery = ["index", str(checkpoint), "named", "--output=cars", "--device=cpu"]
    report = ["report", "--output=page"]
    photo = str(next(Path("named").rglob("*.png")))
    for words in (gallery, ["search", "cars", photo, "--device=cpu"], ["search", "cars", photo, "--json"], report):
        code, said = run(lambda words=words: main(words))  # type: ignore[misc]
        assert code == 0, (words, said)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_verb_with_1_and_leaves_nothing(sign: signal.Signals, folder: Path, network: Path) -> None:
    words = ["carsfg", "index", str(network), "photos", "--output=cars", "--device=cpu"]

    def wait(*_: object) -> None:
        print("embedding", flush=True)  # noqa: T201
        time.sleep(60)

    def work() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it would be ignored
        CarCNN.embed = wait  # type: ignore[method-assign, assignment]
        sys.argv = words
        entry_point()
        return 0

    child = start(work)
    child.wait_for("embedding")
    child.send(sign)
    code, said = child.end()
    assert (code, "Traceback" in said) == (1, False)
    assert not list(folder.glob(".writing-*"))
    assert not (folder / "cars").exists()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_training_with_the_way_to_go_on(sign: signal.Signals, folder: Path, root: Path) -> None:
    words = ["carsfg", "fit", "--config=small", f"--data.root={root}", "--trainer.max_epochs=10000", "--name=stopped"]

    def work() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = words
        entry_point()
        return 0

    child = start(work)
    child.wait_for("epoch 3/")
    child.send(sign)
    code, said = child.end()
    made = "lightning_logs/small/stopped"
    last = f"carsfg: error: stopped before the end; resume it: carsfg fit --resume {made}"
    assert (code, error_line(said)) == (1, last)
    saved = list((folder / made / "checkpoints").glob("[!.]*.ckpt"))
    assert saved
    assert [torch.load(path, weights_only=True)["global_step"] > 0 for path in saved] == [True] * len(saved)


@pytest.mark.parametrize("number", range(3))
def test_processes_that_build_one_cache(number: int, root: Path, tmp_path: Path) -> None:
    data = StanfordCars(next(root.rglob("cars_train")).parent, "train")

    def build() -> int:
        return len(CropCache.open(data, 128 + number, tmp_path / "cache", progress=False)) - len(data)

    children = [start(build) for _ in range(3)]
    for child in children:
        assert child.end() == (0, "")
    (made,) = (tmp_path / "cache").iterdir()
    own = CropCache.open(data, 128 + number, tmp_path / "own", progress=False)
    assert np.array_equal(CropCache(made).images, own.images)

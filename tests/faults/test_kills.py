"""`kill -9` at random moments: the files that remain are whole, and the same command gives the same result again."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from carsfg.cli import main
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars
from tests.faults.children import duration, killed_within, needs_fork, run
from tests.faults.conftest import ROUNDS, Verb

pytestmark = needs_fork


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder and its sub-folders, but for those that a killed process was writing."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: path.relative_to(folder) for path in files}
    return {str(name): path.read_bytes() for path, name in names.items() if ".writing-" not in str(name)}


@ROUNDS
def test_while_a_cache_is_built(rounds: int, root: Path, tmp_path: Path) -> None:
    data = StanfordCars(next(root.rglob("cars_train")).parent, "train")
    moments = np.random.default_rng(0)

    def build(name: str) -> int:
        return len(CropCache.open(data, 256, tmp_path / name, progress=False)) - len(data)

    seconds = duration(lambda: build("whole"))
    pixels = CropCache.open(data, 256, tmp_path / "whole").images
    killed = 0
    for place in range(rounds):
        name = f"cache {place}"
        killed += killed_within(partial(build, name), 1.1 * seconds, moments)
        (tmp_path / name).mkdir(exist_ok=True)
        for whole in (tmp_path / name).glob("train-*"):
            assert np.array_equal(CropCache(whole).images, pixels)
        assert np.array_equal(CropCache.open(data, 256, tmp_path / name).images, pixels)
    assert killed


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run that has ended: weights, and those of the optimizer."""
    (path,) = run_folder.glob("checkpoints/epoch=2-*.ckpt")  # a kill at the end may leave some within epochs
    checkpoint = torch.load(path, weights_only=True)
    states = checkpoint["optimizer_states"][0]["state"]
    inner = {f"{place}.{key}": torch.as_tensor(value) for place, one in states.items() for key, value in one.items()}
    return checkpoint["state_dict"] | inner  # type: ignore[no-any-return]


@ROUNDS
def test_while_a_network_is_trained(rounds: int, folder: Path, fit: Verb) -> None:
    """Three kills for each run, which goes on after each; its weights are those of a run that was not killed."""
    moments = np.random.default_rng(0)
    seconds = duration(lambda: fit("--name=whole"))
    expected, killed = weights(folder / "lightning_logs/small/whole"), 0
    for place in range(0, rounds, 3):
        name = f"killed{place}"
        made = folder / f"lightning_logs/small/{name}"

        def go_on(name: str = name, made: Path = made) -> int:
            if (made / "config.yaml").exists():
                return main(["fit", f"--resume={made}"])
            shutil.rmtree(made, ignore_errors=True)  # killed before its config was written: nothing is lost
            return fit(f"--name={name}")

        for _ in range(3):
            killed += killed_within(go_on, seconds, moments)
            for checkpoint in made.glob("checkpoints/[!.]*.ckpt"):
                torch.load(checkpoint, weights_only=True)
        code, text = run(go_on)
        assert code == 0 or "has had its 3 epochs" in text or "nothing" in text, text
        found = weights(made)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
        assert not list(made.rglob(".writing-*"))
    assert killed


@ROUNDS
def test_while_photos_are_indexed(rounds: int, folder: Path, network: Path) -> None:
    moments = np.random.default_rng(0)

    def index(name: str) -> int:
        return main(["index", str(network), "photos", f"--output={name}", "--device=cpu"])

    seconds = duration(lambda: index("whole"))
    expected, killed = contents(folder / "whole"), 0
    for place in range(rounds):
        name = f"cars{place}"
        killed += killed_within(partial(index, name), 1.1 * seconds, moments)
        assert not (folder / name).exists() or contents(folder / name) == expected
        if not (folder / name).exists():
            assert index(name) == 0
        assert contents(folder / name) == expected
        assert not (folder / f"{name}.unfinished").exists()
    assert killed


@ROUNDS
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_while_embeddings_are_written(suffix: str, rounds: int, folder: Path, network: Path) -> None:
    """The old file or the new one; between an array and its table, which are two files, a kill may come as well."""
    moments, files = np.random.default_rng(0), {".npy": 2, ".parquet": 1}[suffix]
    output = folder / f"out/cars{suffix}"

    def embed(photos: str) -> int:
        return main(["embed", str(network), photos, f"--output={output}", "--overwrite", "--device=cpu"])

    output.parent.mkdir()
    duration(lambda: embed("photos/Astra"))
    old = contents(output.parent)
    shutil.copytree(output.parent, folder / "old")
    seconds = duration(lambda: embed("photos"))
    new = contents(output.parent)
    assert len(old) == len(new) == files
    killed = 0
    for _ in range(rounds):
        shutil.rmtree(output.parent)
        shutil.copytree(folder / "old", output.parent)
        killed += killed_within(lambda: embed("photos"), 1.1 * seconds, moments)
        found = contents(output.parent)
        assert found.keys() == old.keys()
        assert all(content in (old[name], new[name]) for name, content in found.items())
    assert killed

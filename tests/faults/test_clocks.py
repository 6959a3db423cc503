"""Clocks that jump: files from the future and from before 1970, and a clock that is set back during a training."""

import os
import time
from pathlib import Path

import pytest
import torch

from carsfg.callbacks.save_within_epochs import _keep
from carsfg.cli import main
from carsfg.commands.run_checkpoints import last_checkpoint, trained_steps
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.search.gallery import Gallery
from tests.data.conftest import Photo, write_cars
from tests.faults.conftest import Verb

YEARS = 20 * 365 * 24 * 3600.0  # seconds
TIMES = [-YEARS, 0, time.time() + YEARS, 2.0**33]
NAMED = ["before 1970", "1970", "future", "beyond 32 bits"]  # the same names in all processes


@pytest.mark.parametrize("when", TIMES, ids=NAMED)
def test_a_cache_of_such_images_is_kept(when: float, tmp_path: Path) -> None:
    write_cars(tmp_path / "cars", [Photo(), Photo(label=2)])
    data = StanfordCars(tmp_path / "cars", "train")
    for path in data.paths:
        os.utime(path, (when, when))
    made = CropCache.open(data, 4, tmp_path / "cache")
    os.utime(made.path / "cache.json", (when, when))
    before = (made.path / "images.npy").stat().st_mtime_ns
    again = CropCache.open(data, 4, tmp_path / "cache")
    assert (again.path / "images.npy").stat().st_mtime_ns == before
    assert main(["cache", "list", f"--data.cache_dir={tmp_path / 'cache'}"]) in (0, 2)


@pytest.mark.parametrize("when", TIMES, ids=NAMED)
def test_a_gallery_of_such_photos(when: float, folder: Path, network: Path) -> None:
    for path in folder.glob("photos/*/*.png"):
        os.utime(path, (when, when))
    assert main(["index", str(network), "photos", "--output=cars", "--device=cpu"]) == 0
    for path in folder.glob("cars/*"):
        os.utime(path, (when, when))
    assert len(Gallery.load("cars", verify=True)) == 8
    assert main(["search", "cars", "photos/Astra/0.png", "--device=cpu"]) == 0


def test_a_clock_that_is_set_back_does_not_cost_the_newest_checkpoints(tmp_path: Path) -> None:
    """Those of the steps before have later times than the one that was just written."""
    names = [f"within-epoch=0-step={step}.ckpt" for step in (1, 2, 3)]
    for place, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (3000 - 1000 * place,) * 2)
        _keep(tmp_path, 2, names[: place + 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == names[1:]
    names.append("within-epoch=0-step=2.5.ckpt")  # of another process, which resumed the run
    (tmp_path / names[-1]).touch()
    _keep(tmp_path, 2, names[-1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["within-epoch=0-step=2.5.ckpt", names[1]]


def test_a_run_is_resumed_from_its_last_step_after_the_clock_was_set_back(fit: Verb) -> None:
    assert fit("--name=jumped", "--trainer.max_epochs=1", "--test_after_fit=false") == 0
    run = Path("lightning_logs/small/jumped")
    (last,) = run.glob("checkpoints/*.ckpt")
    checkpoint = torch.load(last, weights_only=True)
    before = last.with_name("before.ckpt")
    torch.save({**checkpoint, "global_step": 1}, before)
    later = time.time() + 3600
    os.utime(before, (later, later))
    assert last_checkpoint(run) == str(last)
    assert trained_steps(last) == 4
    os.utime(before)  # the clock is right: this one was written last, for example by a run from the best checkpoint
    assert last_checkpoint(run) == str(before)

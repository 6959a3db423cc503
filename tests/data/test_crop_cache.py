import os
import pickle
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carsfg.data import crop_cache
from carsfg.data.crop_cache import ABANDONED_SECONDS, CropCache
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from tests.data.conftest import Photo, encode, gradient, write_cars


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def test_holds_every_crop(cars: Path, cache: Path) -> None:
    data = StanfordCars(cars, "train")
    crops = CropCache.open(data, 5, cache)
    assert (len(crops), crops.images.shape, str(crops.images.dtype)) == (3, (3, 5, 5, 3), "uint8")
    squashed = data.load(1).resize((5, 5), Image.Resampling.BILINEAR)
    assert (crops.images[1] == np.array(squashed)).all()
    assert not crops.images.flags.writeable


def test_a_crop_of_the_right_size_is_untouched(cars: Path, cache: Path) -> None:
    crops = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    assert (crops.images[0] == gradient()[1:5, 2:6]).all()


def test_shrinking_does_not_alias(tmp_path: Path, cache: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    write_cars(tmp_path, [Photo(data=encode(stripes))])
    crops = CropCache.open(StanfordCars(tmp_path, "train", crop=False), 8, cache)
    assert np.abs(crops.images.astype(int) - 100).max() < 15


class UnreadCars(StanfordCars):
    """A data set whose files must not be read."""

    def read(self, index: int) -> bytes:
        raise AssertionError(f"image {index} was read")


def test_opening_again_reads_no_image(cars: Path, cache: Path) -> None:
    first = CropCache.open(StanfordCars(cars, "train"), 5, cache)
    built = (first.path / "images.npy").stat().st_mtime_ns
    again = CropCache.open(UnreadCars(cars, "train"), 5, cache)
    assert (again.images == first.images).all()
    assert (again.path / "images.npy").stat().st_mtime_ns == built


def test_a_file_of_equal_size_and_time_but_other_content_is_noticed(cars: Path, cache: Path) -> None:
    """As `rsync -t`, `cp -p` or a restored backup leave it."""
    path = StanfordCars(cars, "train").paths[0]
    path.write_bytes(encode(gradient(), "BMP"))
    before = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    pixels, state = before.images[0].copy(), path.stat()
    path.write_bytes(encode(gradient(shift=9), "BMP"))
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    assert after.path == before.path
    assert (after.images[0] - pixels == [0, 0, 9]).all()
    assert [one.name for one in cache.iterdir()] == [after.path.name]


def test_a_quiet_comparison_shows_no_bar(cars: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CropCache.open(StanfordCars(cars, "train"), 4, cache, progress=False)
    for path in StanfordCars(cars, "train").paths:
        path.chmod(0o600)
    shown: list[tuple[str, bool]] = []

    def noting(work: Any, count: int, title: str, progress: bool = True) -> Any:
        shown.append((title, progress))
        return in_threads(work, count, title, progress)

    monkeypatch.setattr("carsfg.data.crop_cache.in_threads", noting)
    CropCache.open(StanfordCars(cars, "train"), 4, cache, progress=False)
    assert shown == [("comparing train images", False)]


def test_a_copied_data_set_keeps_its_cache(cars: Path, cache: Path) -> None:
    first = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    built = (first.path / "images.npy").stat().st_ino
    for path in StanfordCars(cars, "train").paths:  # other change times, same content
        path.chmod(0o600)
    again = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    assert (again.path / "images.npy").stat().st_ino == built
    CropCache.open(UnreadCars(cars, "train"), 4, cache)  # compared once, not again


@pytest.mark.parametrize("version", ["FORMAT_VERSION", "DECODER_VERSION"])
def test_a_cache_of_an_older_version_is_rebuilt(
    cars: Path, cache: Path, version: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as older:
        older.setattr(crop_cache, version, 1)
        old = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    new = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    assert new.path != old.path
    assert f"also holds crops of other settings or older versions: {old.path.name}" in capsys.readouterr().err


@pytest.mark.parametrize("head", [None, '{"format": 1}', "[]", "damaged"])
def test_a_folder_of_this_key_without_this_versions_header_is_rebuilt(
    cars: Path, cache: Path, head: str | None
) -> None:
    """The first version wrote no header."""
    made = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    right = made.images.copy()
    np.save(made.path / "images.npy", np.zeros_like(right))
    (made.path / "cache.json").unlink()
    if head is not None:
        (made.path / "cache.json").write_text(head)
    assert (CropCache.open(StanfordCars(cars, "train"), 4, cache).images == right).all()
    assert [one.name for one in cache.iterdir()] == [made.path.name]


@pytest.mark.parametrize("size", [0, 2049])
def test_sizes_out_of_range(cars: Path, cache: Path, size: int) -> None:
    with pytest.raises(InputError, match=f"image size {size} is out of range: use 1 to 2048"):
        CropCache.open(StanfordCars(cars, "train"), size, cache)


def test_a_full_disk_is_said_before_anything_is_decoded(
    cars: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"only .* are free on the disk\): set .* with 1 MB of free space"):
        CropCache.open(UnreadCars(cars, "train"), 8, cache)


def test_a_changed_image_is_never_served_stale(cars: Path, cache: Path) -> None:
    data = StanfordCars(cars, "train")
    before = CropCache.open(data, 4, cache).images[0].copy()
    data.paths[0].write_bytes(encode(gradient(shift=9)))
    after = CropCache.open(StanfordCars(cars, "train"), 4, cache).images[0]
    assert (after - before == [0, 0, 9]).all()


def test_whatever_changes_the_crops_makes_another_cache(cars: Path, tmp_path: Path, cache: Path) -> None:
    moved = write_cars(tmp_path / "moved", [Photo(box=(2, 2, 6, 5))])
    paths = {
        CropCache.open(StanfordCars(cars, "train"), 4, cache).path,
        CropCache.open(StanfordCars(cars, "train"), 5, cache).path,
        CropCache.open(StanfordCars(cars, "train", margin=0.5), 4, cache).path,
        CropCache.open(StanfordCars(cars, "train", crop=False), 4, cache).path,
        CropCache.open(StanfordCars(cars, "test"), 4, cache).path,
        CropCache.open(StanfordCars(moved, "train"), 4, cache).path,
    }
    assert len(paths) == 6
    os.utime(StanfordCars(cars, "train").paths[0], ns=(1, 1))
    assert CropCache.open(StanfordCars(cars, "train"), 4, cache).path not in paths


def test_labels_do_not_matter(cars: Path, cache: Path) -> None:
    data = StanfordCars(cars, "train")
    first = CropCache.open(data, 4, cache)
    data.labels[0] = 2
    assert CropCache.open(data, 4, cache).path == first.path


def test_a_damaged_image_is_named_and_nothing_is_left(tmp_path: Path, cache: Path) -> None:
    write_cars(tmp_path, [Photo(), Photo(data=encode(gradient())[:50])])
    with pytest.raises(InputError, match=r"00002\.jpg cannot be decoded"):
        CropCache.open(StanfordCars(tmp_path, "train", crop=False), 4, cache)
    assert list(cache.iterdir()) == []


def test_a_missing_image_is_named(cars: Path, cache: Path) -> None:
    data = StanfordCars(cars, "train")
    data.paths[1].unlink()
    with pytest.raises(InputError, match=r"cannot read .*00002\.jpg"):
        CropCache.open(data, 4, cache)


class InterruptedCars(StanfordCars):
    """A data set at whose second image the user presses Ctrl-C."""

    def decode(self, index: int, data: bytes) -> Image.Image:
        if index == 1:
            raise KeyboardInterrupt
        return super().decode(index, data)


def test_an_interrupted_build_leaves_nothing(cars: Path, cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        CropCache.open(InterruptedCars(cars, "train"), 4, cache)
    assert list(cache.iterdir()) == []
    assert len(CropCache.open(StanfordCars(cars, "train"), 4, cache)) == 3


def test_what_killed_builds_leave_is_swept_in_time(cars: Path, cache: Path) -> None:
    for name, age in (("old", ABANDONED_SECONDS + 60), ("young", 0)):
        (cache / f".writing-{name}").mkdir(parents=True)
        (cache / f".writing-{name}" / "images.npy").write_bytes(b"half")
        os.utime(cache / f".writing-{name}", (time.time() - age,) * 2)
    crops = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    assert sorted(path.name for path in cache.iterdir()) == [".writing-young", crops.path.name]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_says_what_to_set_and_leaves_nothing(cars: Path, cache: Path) -> None:
    with file_size_limit(20_000), pytest.raises(InputError, match=r"deep/cache .*set `data.cache_dir`"):
        CropCache.open(StanfordCars(cars, "train"), 224, cache)
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_made_says_what_to_set(cars: Path) -> None:
    (cars / "file").touch()
    with pytest.raises(InputError, match=r"file/cache \(Not a directory\): set `data.cache_dir`"):
        CropCache.open(StanfordCars(cars, "train"), 4, cars / "file" / "cache")


def test_a_damaged_cache_is_named(cars: Path, cache: Path) -> None:
    crops = CropCache.open(StanfordCars(cars, "train"), 4, cache)
    (crops.path / "images.npy").write_bytes(b"")
    with pytest.raises(InputError, match=f"{crops.path.name} is damaged"):
        CropCache.open(StanfordCars(cars, "train"), 4, cache)


class MeetingCars(StanfordCars):
    """A data set whose first image is only decoded once two builds want it."""

    meeting = threading.Barrier(2, timeout=20)

    def decode(self, index: int, data: bytes) -> Image.Image:
        if index == 0:
            self.meeting.wait()
        return super().decode(index, data)


def test_two_builds_at_once_do_not_harm_each_other(cars: Path, cache: Path) -> None:
    opened: list[CropCache] = []

    def build() -> None:
        opened.append(CropCache.open(MeetingCars(cars, "train"), 4, cache))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened[0].path == opened[1].path
    assert (opened[0].images == opened[1].images).all()
    assert [path.name for path in cache.iterdir()] == [opened[0].path.name]


def test_pickles_as_a_path(cars: Path, cache: Path) -> None:
    crops = CropCache.open(StanfordCars(cars, "train"), 224, cache)
    pickled = pickle.dumps(crops)
    assert len(pickled) < 1000
    assert (pickle.loads(pickled).images == crops.images).all()  # noqa: S301


def test_digests_tell_duplicates(tmp_path: Path, cache: Path) -> None:
    photos = [Photo(), Photo(label=2), Photo(data=encode(gradient(shift=1))), Photo(label=3)]
    write_cars(tmp_path, photos)
    crops = CropCache.open(StanfordCars(tmp_path, "train"), 4, cache)
    assert [len(digest) for digest in crops.digests] == [32] * 4
    assert [digest == crops.digests[0] for digest in crops.digests] == [True, True, False, True]

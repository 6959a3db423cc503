import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from carsfg.data.cache_folder import Cache, clear, list_caches, select
from carsfg.data.crop_cache import CropCache, open_caches
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from carsfg.files import replacing

DAY = 24 * 3600


def age(cache: CropCache, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(cache.path / "cache.json", (then, then))


def test_lists_content_data_and_size(cars: Path, tmp_path: Path) -> None:
    CropCache.open(StanfordCars(cars, "train"), 5, tmp_path / "deep" / "cache")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    (cache,) = list_caches(tmp_path)
    assert (cache.content, cache.unfinished) == ("3 train crops of 5 pixels", False)
    assert Path(cache.data) == StanfordCars(cars, "train").folder.resolve()
    assert cache.size_bytes == sum(file.stat().st_size for file in cache.path.iterdir()) > 3 * 5 * 5 * 3
    assert time.time() - cache.used < 60


def test_opening_is_the_last_use(cars: Path, tmp_path: Path) -> None:
    data = StanfordCars(cars, "train")
    age(CropCache.open(data, 5, tmp_path), days=10)
    age(CropCache.open(data, 4, tmp_path), days=2)
    assert [cache.content[-8:] for cache in list_caches(tmp_path)] == ["4 pixels", "5 pixels"]
    CropCache.open(data, 5, tmp_path)
    assert [cache.content[-8:] for cache in list_caches(tmp_path)] == ["5 pixels", "4 pixels"]


def test_a_build_is_listed_as_unfinished(tmp_path: Path) -> None:
    with replacing(tmp_path / "train-5-0") as beside:
        beside.mkdir()
        (beside / "images.npy").write_bytes(b"12345")
        found = list_caches(tmp_path)
    assert [(one.path, one.size_bytes, one.unfinished) for one in found] == [(beside, 5, True)]
    assert list_caches(tmp_path) == []  # without a header it is none


def test_an_older_or_damaged_note_is_unknown(cars: Path, tmp_path: Path) -> None:
    cache = CropCache.open(StanfordCars(cars, "train"), 5, tmp_path)
    for text in ("[1]", "{", json.dumps({"content": 3})):
        (cache.path / "about.json").write_text(text)
        assert [(one.content, one.data) for one in list_caches(tmp_path)] == [("", "")]


def test_selects_by_age_and_by_data(tmp_path: Path) -> None:
    now = time.time()
    old = Cache(tmp_path / "a", 1, now - 8 * DAY, data=str(tmp_path / "photos" / "cars"))
    new = Cache(tmp_path / "b", 1, now - 6 * DAY, data=str(tmp_path / "photos2"))
    unknown = Cache(tmp_path / "c", 1, now - 8 * DAY)
    found = [old, new, unknown]
    assert select(found, None, None) == found
    assert select(found, 7, None) == [old, unknown]
    assert select(found, None, str(tmp_path / "photos")) == [old]
    assert select(found, 7, str(tmp_path / "photos2")) == []


def test_clears_caches_and_nothing_else(cars: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    CropCache.open(StanfordCars(cars, "train"), 5, folder)
    for name in ("features-0.pt", "features-0.json", "notes.json"):
        (folder / name).write_text("{}")
    assert clear(list_caches(folder)) == []
    assert [path.name for path in folder.iterdir()] == ["notes.json"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the folder '.*nowhere': No such file"):
        list_caches(tmp_path / "nowhere")


def test_room_for_all_caches_is_checked_before_the_first(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = StanfordCars(cars, "train")
    needed = len(train) * 2048 * 2048 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed * 3 // 2))
    with pytest.raises(InputError, match=r"only 54 MB are free on the disk\): set .* with 72 MB of free space"):
        open_caches([train, train], 2048, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

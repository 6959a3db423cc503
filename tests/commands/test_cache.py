import os
import time
from pathlib import Path

import pytest

from carsfg.cli import main
from carsfg.data.crop_cache import CropCache
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.data.stanford_cars_dataset import StanfordCars
from tests.conftest import DRAWN


@pytest.fixture
def caches(drawn_root: Path, tmp_path: Path) -> list[CropCache]:
    """One cache used now, one used ten days ago."""
    made = StanfordCarsDataModule(root=str(drawn_root), drawn=DRAWN, image_size=32)
    data = StanfordCars(made.root, "test")
    found = [CropCache.open(data, size, tmp_path / "cache") for size in (8, 16)]
    then = time.time() - 10 * 24 * 3600
    os.utime(found[1].path / "cache.json", (then, then))
    return found


def test_list_shows_what_lies_there(
    caches: list[CropCache], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["cache", "list", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for words in ("20 test crops of 8 pixels", "less than an hour ago", "20 test crops of 16 pixels", "10 days ago"):
        assert words in shown
    assert f"cache/{caches[0].path.name}" in shown
    assert "2 caches, 1 MB" in shown


def test_clear_by_age(caches: list[CropCache], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", str(tmp_path), "--older_than=7"]) == 0
    assert [cache.path.exists() for cache in caches] == [True, False]
    assert capsys.readouterr().out == f"{tmp_path}: 1 of 2 caches deleted, 1 MB freed\n"


def test_clear_by_data(caches: list[CropCache], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", str(tmp_path), "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 0 of 2 caches deleted, 0 MB freed\n"
    assert all(cache.path.exists() for cache in caches)
    assert main(["cache", "clear", str(tmp_path)]) == 0
    assert main(["cache", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}: no caches\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["list", "nowhere"], "cannot read the folder 'nowhere': No such file or directory"),
        (["clear", "--older_than=-1"], "--older_than -1.0 must be 0 or more days"),
        (["clear", "--older_than=nan"], "older_than 'nan' is not a number; see `carsfg cache clear --help`"),
        (["lst"], "unknown verb 'lst' (did you mean 'list'?); see `carsfg cache --help`"),
        ([], "a verb is missing; see `carsfg cache --help`"),
    ],
)
def test_mistakes(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", *words]) == 2
    assert capsys.readouterr().err == f"carsfg: error: {line}\n"

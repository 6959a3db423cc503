"""Downloads by kagglehub and huggingface_hub from a server that plays theirs."""

import importlib.util
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from carsfg.data.fetch.hub import PARQUET
from carsfg.data.fetch.watch import download_from_hub
from carsfg.errors import InputError
from tests.data.fetch.conftest import SHA, Server, zipped

NOISE = bytes(range(256)) * 12_000  # 3 MB, since kagglehub writes one megabyte at a time
TRAIN, TEST = "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"


def body_starts(server: Server, word: str) -> list[int]:
    return [start for method, path, start in server.asked if method == "GET" and word in path]


@pytest.fixture
def mirror(kaggle: Server) -> Server:
    kaggle.serve("kaggle/owner/cars", zipped({"cars_train/1.jpg": NOISE}))
    return kaggle


@pytest.fixture
def tables(hugging_face: Server) -> Server:
    for name in (TRAIN, TEST, "data/contrast-00000-of-00001.parquet", "README.md"):
        hugging_face.serve(f"datasets/owner/cars/resolve/{SHA}/{name}", name.encode() * 1000)
    return hugging_face


def test_kaggle(mirror: Server, tmp_path: Path) -> None:
    found = download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20)
    assert found.is_relative_to(tmp_path)
    assert (found / "cars_train/1.jpg").read_bytes() == NOISE
    assert download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20) == found
    assert body_starts(mirror, "/kaggle/") == [0]  # the second call finds all files


def test_kaggle_continues_a_cut_archive(mirror: Server, tmp_path: Path) -> None:
    mirror.fail("/kaggle/", "cut")
    with pytest.raises(
        InputError, match=r"from Kaggle broke off \(IncompleteRead.*\): run the command again to continue"
    ):
        download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20)
    found = download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20)
    assert (found / "cars_train/1.jpg").read_bytes() == NOISE
    assert body_starts(mirror, "/kaggle/") == [0, 0, 1 << 20]  # kagglehub asks whole first, then for the rest


@pytest.mark.parametrize("fault", [pytest.param("stall", marks=pytest.mark.slow), "stall half"])
def test_kaggle_that_stalls_is_ended(mirror: Server, tmp_path: Path, fault: str) -> None:
    mirror.fail("/kaggle/", fault)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"^Kaggle sent nothing for 4 s: run the command again to continue$"):
        download_from_hub("kaggle", "owner/cars", tmp_path, timeout=4)
    assert time.monotonic() - start < 20
    assert (download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20) / "cars_train/1.jpg").is_file()


@pytest.mark.usefixtures("mirror")
def test_a_download_ends_with_the_process_that_started_it(kaggle: Server, tmp_path: Path) -> None:
    kaggle.fail("/kaggle/", "stall")
    words = [sys.executable, "-m", "carsfg.data.fetch.hub", "kaggle", "owner/cars", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        while not body_starts(kaggle, "/kaggle/"):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # Ctrl-C goes to both, and the other one answers it
        time.sleep(0.3)
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 1


@pytest.mark.slow
def test_a_description_that_stalls_is_ended(mirror: Server, tmp_path: Path) -> None:
    mirror.fail("/GetDataset", "stall")  # kagglehub itself waits without a limit here
    with pytest.raises(InputError, match="Kaggle sent nothing for 3 s"):
        download_from_hub("kaggle", "owner/cars", tmp_path, timeout=3)


def test_a_damaged_archive_of_kaggle_is_downloaded_anew(mirror: Server, tmp_path: Path) -> None:
    mirror.fail("/kaggle/", "bytes")
    with pytest.raises(InputError, match="Kaggle sent a damaged 'owner/cars': run the command again"):
        download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20)
    assert (download_from_hub("kaggle", "owner/cars", tmp_path, timeout=20) / "cars_train/1.jpg").is_file()


@pytest.mark.parametrize(
    ("repository", "fault", "words"),
    [
        ("owner/other", "", "Kaggle has no public data set 'owner/other': check its name"),
        ("owner/cars", "403", r"Kaggle refuses 'owner/cars' \(403\): accept its terms .* KAGGLE_API_TOKEN"),
        ("owner/cars", "500", "Kaggle answered with status 500 for 'owner/cars': run the command again later"),
    ],
)
def test_kaggle_says_no(mirror: Server, tmp_path: Path, repository: str, fault: str, words: str) -> None:
    if fault:
        mirror.fail("/kaggle/", fault)
    with pytest.raises(InputError, match=words):
        download_from_hub("kaggle", repository, tmp_path, timeout=20)


@pytest.mark.usefixtures("tables")
def test_hugging_face_takes_two_splits_and_the_card(tmp_path: Path) -> None:
    found = download_from_hub("huggingface", "owner/cars", tmp_path, timeout=20)
    names = [path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()]
    assert sorted(name for name in names if not name.startswith(".")) == ["README.md", TEST, TRAIN]
    assert (found / TRAIN).read_bytes() == TRAIN.encode() * 1000


@pytest.mark.parametrize("fault", [pytest.param("stall", marks=pytest.mark.slow), "stall half"])
def test_hugging_face_that_stalls_is_ended_and_keeps_complete_files(tables: Server, tmp_path: Path, fault: str) -> None:
    tables.fail("test-0", fault)
    with pytest.raises(InputError, match=r"^Hugging Face sent nothing for 4 s: run the command again to continue$"):
        download_from_hub("huggingface", "owner/cars", tmp_path, timeout=4)
    found = download_from_hub("huggingface", "owner/cars", tmp_path, timeout=20)
    assert (found / TEST).read_bytes() == TEST.encode() * 1000
    assert len(body_starts(tables, "train-0")) == 1
    assert not list(tmp_path.rglob("*.incomplete"))


@pytest.mark.slow
def test_hugging_face_continues_a_cut_file(tables: Server, tmp_path: Path) -> None:
    tables.fail("train-0", "cut")
    with suppress(InputError):  # of releases before 1.0; later ones continue at once
        download_from_hub("huggingface", "owner/cars", tmp_path, timeout=20)
    found = download_from_hub("huggingface", "owner/cars", tmp_path, timeout=20)
    assert (found / TRAIN).read_bytes() == TRAIN.encode() * 1000


@pytest.mark.parametrize(
    ("repository", "path", "fault", "words"),
    [
        ("owner/other", "", "", "Hugging Face has no public data set 'owner/other': check its name.*HF_TOKEN"),
        ("owner/cars", "train-0", "500", "Hugging Face answered with status 500 for 'owner/cars'"),
        ("owner/cars", "/api/datasets/owner/cars", "500", "Hugging Face answered with status 500 for 'owner/cars'"),
    ],
)
def test_hugging_face_says_no(
    tables: Server, tmp_path: Path, repository: str, path: str, fault: str, words: str
) -> None:
    if fault:
        tables.fail(path, fault, times=9)
    with pytest.raises(InputError, match=words):
        download_from_hub("huggingface", repository, tmp_path, timeout=20)


def test_a_data_set_without_tables(hugging_face: Server, tmp_path: Path) -> None:
    hugging_face.serve(f"datasets/owner/cars/resolve/{SHA}/cars.zip", b"x")
    with pytest.raises(InputError, match="'owner/cars' cannot be used: it has no Parquet files of the splits"):
        download_from_hub("huggingface", "owner/cars", tmp_path, timeout=20)


@pytest.mark.usefixtures("hugging_face")
def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"from Hugging Face broke off \(.*refused\): run the command again to continue"
    ):
        download_from_hub("huggingface", "owner/cars", tmp_path, timeout=60)


@pytest.mark.parametrize(("hub", "library"), [("kaggle", "kagglehub"), ("huggingface", "huggingface_hub")])
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: str, library: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=rf"--source {hub} needs {library}: python -m pip install -e '\.\[fetch\]'"):
        download_from_hub(hub, "owner/cars", tmp_path, timeout=20)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("data/train-00000-of-00002.parquet", "train"), ("test.parquet", "test"), ("data/train.zip", None),
        ("default/train/0000.parquet", "train"), ("data/contrast-00000-of-00001.parquet", None),
        ("latest/0.parquet", None),
    ],
)  # fmt: skip
def test_names_of_parquet_files(name: str, part: str | None) -> None:
    found = PARQUET.search(name)
    assert (found and found[1]) == part

"""Writing beside and renaming: complete or not at all, for files and for folders."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from carsfg import files
from carsfg.files import checksum, digest, remove, replacing


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_folder(folder: Path, **texts: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def fail(path: Path, error: BaseException, **texts: str) -> None:
    """Write a part of a folder, or of a file if there are no texts, and break off."""
    with replacing(path) as beside:
        if texts:
            write_folder(beside, **texts)
        else:
            beside.write_text("half")
        raise error


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with replacing(tmp_path / "deep/scores.csv") as beside:
        assert beside.suffix == ".csv"  # matplotlib and others choose the format by it
        beside.write_text("new")
        assert not (tmp_path / "deep/scores.csv").exists()
    assert (tmp_path / "deep/scores.csv").read_text() == "new"
    assert names(tmp_path / "deep") == ["scores.csv"]


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt("boom")])
def test_after_an_error_the_old_file_is_there(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("old")
    with pytest.raises(type(error), match="boom"):
        fail(tmp_path / "scores.csv", error)
    assert (tmp_path / "scores.csv").read_text() == "old"
    assert names(tmp_path) == ["scores.csv"]


def test_a_folder_replaces_the_whole_old_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "cars", old="1", both="1")
    with replacing(tmp_path / "cars") as beside:
        write_folder(beside, both="2", new="2")
    assert names(tmp_path / "cars") == ["both", "new"]
    assert (tmp_path / "cars/both").read_text() == "2"
    assert names(tmp_path) == ["cars"]


def test_after_an_error_the_old_folder_is_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "cars", old="1")
    with pytest.raises(ValueError, match="boom"):
        fail(tmp_path / "cars", ValueError("boom"), new="2")
    assert names(tmp_path / "cars") == ["old"]
    assert names(tmp_path) == ["cars"]


def test_a_failed_swap_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "cars", old="1")
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    replace, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("boom")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(OSError, match="boom"), replacing(tmp_path / "cars") as beside:
        write_folder(beside, new="2")
    assert names(tmp_path / "cars") == ["old"]
    assert names(tmp_path) == ["cars"]


def test_an_old_folder_is_removed_unless_it_is_the_only_one(tmp_path: Path) -> None:
    for name in (".old-01-cars", ".old-02-my-cars", "my-cars", ".writing-03"):
        write_folder(tmp_path / name, file="1")
        os.utime(tmp_path / name, (0, 0))
    files.remove_abandoned(tmp_path, 60)
    assert names(tmp_path) == [".old-01-cars", "my-cars"]
    assert files.find_replaced(tmp_path / "cars") == tmp_path / ".old-01-cars"
    assert files.find_replaced(tmp_path / "my-cars") is None


def test_without_an_exchange_the_folder_is_replaced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, and on some network file systems."""
    write_folder(tmp_path / "cars", old="1")
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with replacing(tmp_path / "cars") as beside:
        write_folder(beside, new="2")
    assert names(tmp_path / "cars") == ["new"]
    assert names(tmp_path) == ["cars"]


# a child is killed at its Nth call of the operating system that Python reports, until it ends by itself
KILLED_AT_EVERY_CALL = """
import os, shutil, signal, sys
from pathlib import Path
from carsfg import files

cars = Path(sys.argv[1]) / "cars"
files._exchange = files._exchange if sys.argv[2] == "exchange" else lambda *_: False
left = None  # calls until the end, in a child

def kill(event, arguments):
    global left
    if left is not None and event.split(".")[0] in ("os", "shutil", "open", "pathlib"):
        left = left - 1 if left else None
        if left is None:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
for moment in range(1000):
    for entry in cars.parent.iterdir():
        shutil.rmtree(entry)
    cars.mkdir()
    for name in "ab":
        (cars / name).write_text("old")
    child = os.fork()
    if not child:
        left = moment
        with files.replacing(cars) as beside:
            beside.mkdir()
            for name in "ab":
                (beside / name).write_text("new")
        os._exit(0)
    ended = os.waitpid(child, 0)[1] == 0
    found = cars if cars.exists() else files.find_replaced(cars)
    print(*((found / name).read_text() if found else "" for name in "ab"), cars.exists())
    if ended:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by os.fork")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_killed_at_every_call_the_folder_is_whole(way: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED_AT_EVERY_CALL, str(tmp_path), way]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) > 10
    assert {line.rpartition(" ")[0] for line in lines} == {"old old", "new new"}
    assert lines[-1] == "new new True"
    there = {line.rpartition(" ")[2] for line in lines}
    assert there == ({"True"} if way == "exchange" else {"True", "False"})


@pytest.mark.parametrize("keep", [False, True])
def test_another_process_was_first(keep: bool, tmp_path: Path) -> None:
    with replacing(tmp_path / "cache", keep_folder=keep) as beside:
        write_folder(beside, images="mine")
        write_folder(tmp_path / "cache", images="theirs")
    assert (tmp_path / "cache/images").read_text() == ("theirs" if keep else "mine")
    assert names(tmp_path) == ["cache"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    write_folder(tmp_path / "disk", file="old")
    (tmp_path / "link").symlink_to(tmp_path / "disk/file")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk/file").read_text() == "new"
    assert names(tmp_path / "disk") == ["file"]


def test_a_mount_point_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be renamed; the file that was written last, such as a manifest, comes last."""
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "cars")
    write_folder(tmp_path / "cars", old="1", both="1")
    node, order, replace = (tmp_path / "cars").stat().st_ino, [], Path.replace

    def noting(self: Path, target: Path) -> Path:
        order.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    with replacing(tmp_path / "cars") as beside:
        for time, name in enumerate(("new", "both")):
            write_folder(beside, **{name: "2"})
            os.utime(beside / name, (time, time))
    assert order == ["new", "both"]
    assert names(tmp_path / "cars") == ["both", "new"]
    assert (tmp_path / "cars").stat().st_ino == node
    with pytest.raises(ValueError, match="boom"):
        fail(tmp_path / "cars", ValueError("boom"), other="3")
    assert names(tmp_path / "cars") == ["both", "new"]


def test_everything_is_on_the_disk_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = files._fsync, Path.replace

    def noting_fsync(path: Path) -> None:
        events.append("folder" if path.is_dir() else path.name)
        fsync(path)

    def noting_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(files, "_fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    with replacing(tmp_path / "cars") as beside:
        write_folder(beside, index="1")
    assert events == ["index", "folder", "rename", "folder"]


def test_a_file_that_cannot_be_flushed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "file") as beside:
        beside.write_text("new")
    assert names(tmp_path) == []


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"cars")
    assert checksum(tmp_path / "file") == digest(b"cars") == hashlib.blake2b(b"cars", digest_size=16).hexdigest()
    assert checksum(tmp_path / "file", "sha256") == hashlib.sha256(b"cars").hexdigest()


def test_removing(tmp_path: Path) -> None:
    write_folder(tmp_path / "cars", one="1")
    (tmp_path / "link").symlink_to(tmp_path / "cars")
    remove(tmp_path / "link")
    assert names(tmp_path) == ["cars"]
    remove(tmp_path / "cars")
    remove(tmp_path / "nothing")
    assert names(tmp_path) == []


@pytest.mark.parametrize("beside", [False, True])
def test_an_error_of_the_system_names_the_file_that_was_to_be_written(beside: bool, tmp_path: Path) -> None:
    """The error of a full disk has no file name, and the unfinished file is not known to the user."""
    with pytest.raises(OSError, match=f"{28 if beside else 27}") as caught, replacing(tmp_path / "scores.csv") as path:
        raise OSError(28, "No space left on device", str(path)) if beside else OSError(27, "File too large")
    assert caught.value.filename == str(tmp_path / "scores.csv")


def test_why_something_cannot_be_written() -> None:
    assert files.write_error(OSError(28, "No space left on device", "x")) == "No space left on device"
    torch_error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 0")
    assert files.write_error(torch_error) == "the disk is full, or the file is too large for it"
    assert files.write_error(RuntimeError("another\nreason")) == "another reason"

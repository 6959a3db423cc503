"""Writing files and folders beside their place before they are renamed, and checksums."""

import ctypes
import errno
import hashlib
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNFINISHED = ".writing-"  # how names of files and folders begin while they are written
REPLACED = ".old-"  # how names of folders begin while they are replaced where two folders cannot change places
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the operating system, for a disk or a quota
TORCH_CANNOT_WRITE = "inline_container"  # source file of torch that its error names if it could not write
DIGEST_BYTES = 16  # of a BLAKE2b checksum: 32 hexadecimal digits
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2
RENAME_SWAP = 2  # of macOS's renamex_np


@contextmanager
def replacing(path: str | Path, keep_folder: bool = False) -> Iterator[Path]:
    """Give a path to write to, and rename it to `path` once the block has ended without an error.

    The block writes either a file or a folder. Everything is flushed to the disk (fsync) before the rename, so that
    after a power cut `path` is either as it was or complete. An error, Ctrl-C included, removes what was written and
    leaves `path` as it was. Two folders change places in one step (Linux and macOS, on most file systems); elsewhere
    a process that is killed between two renames leaves the old folder beside, see `find_replaced`. A folder that is a
    mount point, or that lies in a folder without write permission, cannot be renamed: its entries are replaced one by
    one, in the order in which they were written.

    Args:
        path: file or folder to create or replace; links are followed, parent folders are created.
        keep_folder: a folder that exists at the end is kept instead: another process has written the same.

    Yields:
        A path in the same file system, with the suffix of `path`, where nothing exists yet.

    Raises:
        OSError: the disk is full, or permission is missing; its `filename` is `path`.
    """
    given, path = str(path), Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    fixed = path.is_dir() and (os.path.ismount(path) or not os.access(path.parent, os.W_OK))
    beside = (path if fixed else path.parent) / f"{UNFINISHED}{uuid.uuid4().hex}{path.suffix}"
    try:
        yield beside
        flush(beside)
        if fixed and not keep_folder:
            _fill(path, beside)
        elif path.is_dir():
            if not keep_folder:
                _swap(path, beside)
        else:
            try:
                beside.replace(path)
            except OSError:
                if not (keep_folder and path.is_dir()):  # otherwise another process has just written the same
                    raise
        _flush_one(path.parent)
    except OSError as error:
        named = error.filename
        if error.errno is not None and (named is None or str(named).startswith(str(beside))):
            error.filename = given  # a full disk names no file, other errors the one beside
        raise
    finally:
        remove(beside)


def flush(path: Path) -> None:
    """Write a file, or a folder with all it holds, from the memory of the operating system to the disk.

    Args:
        path: the file or folder.

    Raises:
        OSError: it cannot be written.
    """
    if path.is_dir():
        for entry in path.iterdir():
            flush(entry)
    _flush_one(path)


def remove(path: Path) -> None:
    """Delete a file or a folder with all it holds; errors are ignored, as is a path that does not exist.

    Args:
        path: the file or folder.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def find_replaced(path: Path) -> Path | None:
    """Return the old folder that a killed process left beside while it replaced a folder; None if there is none.

    Args:
        path: folder that was replaced, and does not exist now.
    """
    found = sorted(path.parent.glob(f"{REPLACED}*")) if not path.exists() and path.parent.is_dir() else []
    return next((one for one in found if _replaced_name(one) == path.name), None)


def remove_abandoned(folder: Path, seconds: float) -> None:
    """Delete what killed processes have left behind while they wrote to a folder.

    An old folder whose place is empty is kept: it is the only one, see `find_replaced`.

    Args:
        folder: that holds what `replacing` was writing.
        seconds: age after which an unfinished file or folder is considered abandoned.
    """
    replaced = [old for old in folder.glob(f"{REPLACED}*") if (folder / _replaced_name(old)).exists()]
    for unfinished in [*folder.glob(f"{UNFINISHED}*"), *replaced]:
        with suppress(FileNotFoundError):  # it has just been finished
            if time.time() - unfinished.stat().st_mtime > seconds:
                remove(unfinished)


def checksum(path: Path, algorithm: str = "blake2b") -> str:
    """Return the checksum of a file, hexadecimal.

    Args:
        path: file to read whole.
        algorithm: `blake2b`, 32 digits, or a name that `hashlib.new` knows, such as `sha256`.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        made: Any = _blake2b if algorithm == "blake2b" else algorithm
        return hashlib.file_digest(file, made).hexdigest()


def digest(data: bytes) -> str:
    """Return the checksum of bytes, 32 hexadecimal digits: the one that `checksum` gives for a file of these bytes.

    Args:
        data: any bytes.
    """
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def show_bytes(count: float) -> str:
    """Return a number of bytes in words, such as `1.2 GB` or `35 MB`; at least 1 MB.

    Args:
        count: number of bytes.
    """
    megabytes = count / 2**20
    return f"{megabytes / 2**10:.1f} GB" if megabytes > 1000 else f"{max(1, round(megabytes))} MB"


def write_error(error: OSError | RuntimeError) -> str:
    """Return why something could not be written, such as `No space left on device`.

    Args:
        error: of the operating system, or of `torch.save`, which raises a RuntimeError on a full disk.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split())
    return "the disk is full, or the file is too large for it" if TORCH_CANNOT_WRITE in said else said[:200]


def _blake2b() -> Any:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def _flush_one(path: Path) -> None:
    if path.is_dir():
        with suppress(OSError):  # Windows opens no folders, and some network file systems cannot flush them
            _fsync(path)
    else:
        _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(path: Path, beside: Path) -> None:
    """Put a new folder in the place of an old one, which comes back if that fails."""
    if _exchange(path, beside):
        return  # the old one is now where the new one was written, and is removed with it
    old = path.with_name(f"{REPLACED}{uuid.uuid4().hex}-{path.name}")
    path.replace(old)
    try:
        beside.replace(path)
    except BaseException:
        old.replace(path)
        raise
    remove(old)


def _replaced_name(old: Path) -> str:
    """Return the name of the folder that was replaced: `cars` of `.old-0123-cars`."""
    return old.name.removeprefix(REPLACED).partition("-")[2]


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False if the system or the file system cannot."""
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(library.renamex_np(os.fsencode(one), os.fsencode(other), RENAME_SWAP) == 0)
        here = AT_FDCWD
        return bool(library.renameat2(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE) == 0)
    except (AttributeError, OSError, TypeError):  # a C library without the function; Windows has no such library
        return False


def _fill(path: Path, beside: Path) -> None:
    """Replace the entries of a folder by those of another one inside it, in the order in which they were written."""
    new = sorted(beside.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in set(path.iterdir()) - {path / one.name for one in new} - {beside}:
        remove(entry)
    for entry in new:
        entry.replace(path / entry.name)
    _flush_one(path)

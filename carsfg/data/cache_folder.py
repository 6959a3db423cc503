"""What lies in a folder of caches: decoded crops, and outputs of frozen backbones."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carsfg.errors import InputError
from carsfg.files import UNFINISHED, remove, replacing
from carsfg.untrusted import parse_json

ABOUT = "about.json"  # in the folder of a crop cache
FEATURES = "features-"  # how the names of files begin that hold the output of a frozen backbone
CROPS_HEADER = "cache.json"  # written last into the folder of a crop cache; its time is that of the last use
SECONDS_PER_DAY = 24 * 3600


@dataclass(frozen=True)
class Cache:
    """One cache.

    Attributes:
        path: a folder of crops, or a file of features.
        size_bytes: of its files, together.
        used: time of the last use, in seconds since 1970.
        content: such as `8,144 crops of 224 pixels`; empty if it is not known.
        data: folder of the images that it was made from; empty if it is not known.
        unfinished: a build was interrupted, or another process is building it now.
    """

    path: Path
    size_bytes: int
    used: float
    content: str = ""
    data: str = ""
    unfinished: bool = False


def list_caches(folder: str | Path) -> list[Cache]:
    """Return the caches in a folder and its sub-folders, the last used first; other files are ignored.

    Args:
        folder: such as `data`; links in it are not followed.

    Raises:
        InputError: the folder does not exist or cannot be read.
    """
    found = []
    try:
        os.listdir(folder)  # noqa: PTH208 - `os.walk` gives nothing for a folder that cannot be read
    except OSError as error:
        raise InputError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error
    for parent, folders, files in os.walk(folder):
        caches = [cache for name in (*folders, *files) if (cache := _read(Path(parent, name)))]
        found += caches
        folders[:] = sorted(set(folders) - {cache.path.name for cache in caches})
    return sorted(found, key=lambda cache: cache.used, reverse=True)


def select(caches: Sequence[Cache], older_than_days: float | None, data: str | None) -> list[Cache]:
    """Return the caches that are old enough and made from a folder of images.

    Args:
        caches: to select from, as `list_caches` returns them.
        older_than_days: time since the last use, at least; None for any.
        data: folder of images, or a folder above it; None for any. Caches whose data is not known are left out.
    """
    latest = time.time() - (older_than_days or 0) * SECONDS_PER_DAY
    chosen = [cache for cache in caches if older_than_days is None or cache.used <= latest]
    if data is None:
        return chosen
    wanted = Path(data).resolve()
    return [cache for cache in chosen if cache.data and Path(cache.data).is_relative_to(wanted)]


def clear(caches: Sequence[Cache]) -> list[Cache]:
    """Delete caches, and return those that could not be deleted.

    A training that uses a deleted cache goes on: the operating system keeps its files until it ends.

    Args:
        caches: folders and files to delete, as `list_caches` returns them.
    """
    for cache in caches:
        # the header first, so that no process opens a cache of which a part is missing
        remove(cache.path / CROPS_HEADER if cache.path.is_dir() else cache.path)
        remove(cache.path)
        remove(_about(cache.path))
    return [cache for cache in caches if cache.path.exists()]


def describe(cache: Path, content: str, data: str | Path) -> None:
    """Note beside a new cache what it holds and from which images; an error of the disk is ignored.

    Args:
        cache: folder of crops, or file of features.
        content: what it holds, in words.
        data: folder of the images.
    """
    with suppress(OSError), replacing(_about(cache)) as beside:
        beside.write_text(json.dumps({"content": content, "data": str(Path(data).resolve())}), encoding="utf-8")


def note_use(cache: Path) -> None:
    """Set the time of the last use of a cache to now; on read-only disks it stays.

    Args:
        cache: folder of crops, or file of features.
    """
    with suppress(OSError):
        os.utime(_dated(cache))


def _about(cache: Path) -> Path:
    return cache / ABOUT if cache.is_dir() or not cache.name.startswith(FEATURES) else cache.with_suffix(".json")


def _dated(cache: Path) -> Path:
    return cache / CROPS_HEADER if cache.is_dir() else cache


def _read(path: Path) -> Cache | None:
    """Return the cache at a path; None if it is something else."""
    if not path.name.startswith((UNFINISHED, FEATURES)) and not (path / CROPS_HEADER).is_file():
        return None
    unfinished = path.name.startswith(UNFINISHED)
    is_crops = path.is_dir() and not path.is_symlink() and (path / CROPS_HEADER).is_file()
    is_features = path.name.startswith(FEATURES) and path.suffix == ".pt" and path.is_file()
    if not (unfinished or is_crops or is_features):
        return None
    try:
        status = (path if unfinished else _dated(path)).stat()
        inside = path.rglob("*") if path.is_dir() else [path]
        size = sum(one.stat().st_size for one in inside if one.is_file())
    except OSError:  # another process has just finished or deleted it
        return None
    about = _facts(_about(path))
    return Cache(path, size, status.st_mtime, about.get("content", ""), about.get("data", ""), unfinished)


def _facts(file: Path) -> dict[str, str]:
    try:
        read: Any = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): v for k, v in read.items() if isinstance(v, str)} if isinstance(read, dict) else {}

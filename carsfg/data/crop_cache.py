"""All crops of a split, decoded once into a memory-mapped file."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from carsfg.data.sources.stanford_cars import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError

FORMAT = 1  # raise when what a cache holds changes
RESAMPLING = Image.Resampling.BILINEAR  # Pillow's widens its support when it shrinks, so it does not alias
STALE = 24 * 3600  # seconds after which an unfinished build belongs to nobody


class CropCache:
    """The decoded crops of one split, squashed to squares; opening one builds it when it is missing.

    It lies in `FOLDER/SPLIT-SIZE-KEY/`, where the key is made of all that the crops depend on, so a changed
    image, box, margin or size makes another cache; old ones stay until somebody deletes them. A build is
    written beside and renamed: an unfinished one is never read, and of two processes that build at once the
    second to finish drops its copy.

    Args:
        path: the folder of a finished cache; see `open` for making one.

    Attributes:
        path: that folder.
        images: uint8 (N, size, size, 3), RGB, read-only, memory-mapped.
        digests: N hexadecimal digests of the image files' bytes.

    Raises:
        InputError: the cache is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.images: npt.NDArray[np.uint8] = np.load(path / "images.npy", mmap_mode="r")
            self.digests = (path / "digests.txt").read_text().split()
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"the crop cache {path} is damaged ({error}): delete that folder.") from error
        if len(self.images) != len(self.digests):
            raise InputError(f"the crop cache {path} is damaged (lengths differ): delete that folder.")

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type["CropCache"], tuple[Path]]:
        """Pickle the place, not the pixels: a worker process maps the same file."""
        return CropCache, (self.path,)

    @classmethod
    def open(cls, dataset: StanfordCars, size: int, folder: str | Path, progress: bool = True) -> "CropCache":
        """Open the cache of a data set, and build it first when it is missing.

        Args:
            dataset: the split to decode; its transform is not used.
            size: side of the squares in pixels; a crop that has that size already stays untouched.
            folder: where caches lie; made when missing.
            progress: show a bar on the terminal when the build takes a while.

        Raises:
            InputError: an image is damaged, the folder cannot be written, or the disk is full.
        """
        path = Path(folder) / f"{dataset.split}-{size}-{cache_key(dataset, size)}"
        if not path.is_dir():
            try:
                _build(dataset, size, path, progress)
            except OSError as error:
                needed = len(dataset) * size * size * 3 / 1e9
                raise InputError(
                    f"the crop cache cannot be written to {folder} ({error.strerror or error}): "
                    f"set `data.cache_dir` to a writable folder with {needed:.1f} GB of room."
                ) from error
        return cls(path)


def cache_key(dataset: StanfordCars, size: int) -> str:
    """Hash all that the crops of a data set depend on.

    Args:
        dataset: the split, with its crop and margin.
        size: side of the squares, in pixels.

    Raises:
        InputError: an image is missing.
    """
    made_of = hashlib.blake2b(digest_size=8)
    made_of.update(json.dumps([FORMAT, size, int(RESAMPLING), dataset.crop, dataset.margin]).encode())
    if dataset.crop:
        made_of.update(dataset.boxes.numpy().tobytes())
    for path in dataset.paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        name = path.relative_to(dataset.folder).as_posix()
        made_of.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return made_of.hexdigest()


def twins(digests: Sequence[str]) -> list[list[int]]:
    """Group the indices of byte-identical files, in order of the first; groups of one are left out.

    Args:
        digests: of the files' bytes, by index.
    """
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(digests):
        groups.setdefault(one, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def digest(data: bytes) -> str:
    """Give the 128-bit BLAKE2b digest of a file's bytes as 32 hexadecimal digits.

    Args:
        data: the file's bytes.
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _build(dataset: StanfordCars, size: int, path: Path, progress: bool) -> None:
    """Write a cache beside `path` and rename it; whatever happens, no part of it is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    unfinished = path.with_name(f".building-{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        _write(dataset, size, unfinished, progress)
        try:
            unfinished.rename(path)
        except OSError:
            if not path.is_dir():  # otherwise another process was quicker, and its cache is as good
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(dataset: StanfordCars, size: int, folder: Path, progress: bool) -> None:
    """Decode everything into `folder/images.npy` and `folder/digests.txt`."""

    def crop(index: int) -> tuple[bytes, str]:
        data = dataset.read(index)
        image = dataset.decode(index, data)
        if image.size != (size, size):
            image = image.resize((size, size), RESAMPLING)
        return image.tobytes(), digest(data)

    header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (len(dataset), size, size, 3)}
    digests = []
    # plain writes: on a full disk they raise, whereas writing through a memory map kills the process
    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for pixels, one in in_threads(crop, len(dataset), f"decoding {dataset.split} crops", progress):
            file.write(pixels)
            digests.append(one)
        file.flush()
        os.fsync(file.fileno())  # else a rename may outlive the pixels in a power cut
    (folder / "digests.txt").write_text("\n".join(digests) + "\n")


def _sweep(folder: Path) -> None:
    """Remove what killed builds left behind."""
    for unfinished in folder.glob(".building-*"):
        with contextlib.suppress(FileNotFoundError):  # its builder has just finished
            if time.time() - unfinished.stat().st_mtime > STALE:
                shutil.rmtree(unfinished, ignore_errors=True)

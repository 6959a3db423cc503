"""The crop cache: all crops of a split, decoded once into a memory-mapped file."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from carsfg.data.cache_folder import CROPS_HEADER, describe, note_use
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_io import DECODER_VERSION
from carsfg.data.near_duplicates import CELLS_SIDE, grey_cells
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.files import digest, remove, remove_abandoned, replacing, show_bytes
from carsfg.untrusted import load_array, parse_json

FORMAT_VERSION = 3  # increase it whenever the files of a cache change
RESAMPLING = Image.Resampling.BILINEAR  # Pillow widens its support when it shrinks an image, which avoids aliasing
ABANDONED_SECONDS = 24 * 3600  # age after which an unfinished build is considered abandoned
MAX_CROP_SIDE = 2048  # pixels; 13 MB per image


class CropCache:
    """The decoded crops of a data set, resized to squares; `open` builds the cache if needed.

    A cache is the folder `CACHES/NAME-SIZE-KEY/`. Its key is a hash of everything that the crops depend on: the
    versions of this format and of the decoder, size, boxes, margin, and name, size and modification time of every
    image file. If one of these changes, another cache is built.

    A file can change while size and modification time stay, as with `rsync -t` or a restored backup. Its change time
    (ctime) differs then, so the cache's header holds a hash of all change times. If they differ, all files are read
    once and compared with the stored digests: the cache is rebuilt if a file differs, and kept if the files
    were just copied or moved. Where a file system has no change times (Windows), such a change goes unnoticed.

    A cache is written beside its folder and renamed: an unfinished one is never read, and of two processes that build
    at once the second one drops its copy. Old caches are not removed; a build names them, `carsfg cache` deletes them.

    Args:
        path: folder of a finished cache; see `open` for building one.

    Attributes:
        path: directory that holds the decoded images and their header.
        images: uint8 (N, size, size, 3), RGB, read-only, memory-mapped.
        digests: N hexadecimal digests of the bytes of the image files.
        cells: uint8 (N, 16, 16), the crops as few grey cells, by which near duplicates are found.

    Raises:
        InputError: the cache is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.images: npt.NDArray[np.uint8] = load_array(path / "images.npy")
            self.digests = (path / "digests.txt").read_text().split()
            self.cells: npt.NDArray[np.uint8] = np.array(load_array(path / "cells.npy"))
        except (OSError, ValueError) as error:
            raise InputError(f"the crop cache {path} is damaged ({error}): delete that folder") from error
        shapes = self.images.shape[1:], self.cells.shape[1:]
        if not (len(shapes[0]) == 3 and shapes[1] == (CELLS_SIDE, CELLS_SIDE) and self.images.dtype == np.uint8):
            raise InputError(f"the crop cache {path} is damaged (it does not hold images): delete that folder")
        if not len(self.images) == len(self.digests) == len(self.cells):
            raise InputError(f"the crop cache {path} is damaged (lengths differ): delete that folder")

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type["CropCache"], tuple[Path]]:
        """Pickle the path instead of the pixels: a worker process maps the same file."""
        return CropCache, (self.path,)

    @classmethod
    def open(cls, dataset: CroppedImages, size: int, folder: str | Path, progress: bool = True) -> "CropCache":
        """Open the cache of a data set; build it first if it is missing or out of date.

        Args:
            dataset: the images to decode; its transform is not used.
            size: side of the squares in pixels; a crop that has this size already is not resized.
            folder: folder of all caches; created if needed.
            progress: show a progress bar if the build takes a while.

        Raises:
            InputError: an image is damaged, the folder cannot be written, the disk is full, or the size is too large.
        """
        path = _place(dataset, size, Path(folder))
        if not _is_current(path, dataset, progress):
            try:
                _check_room([dataset], size, path.parent)
                _build(dataset, size, path, progress)
            except OSError as error:
                raise _not_written(Path(folder), error, [dataset], size) from error
        note_use(path)
        return cls(path)


def open_caches(datasets: Sequence[CroppedImages], size: int, folder: str | Path) -> list[CropCache]:
    """Open the caches of several data sets; see `CropCache.open`.

    Args:
        datasets: the images of each cache.
        size: side of the squares in pixels.
        folder: folder of all caches.

    Raises:
        InputError: as `CropCache.open`, or the disk cannot hold all caches that are to be built: nothing is decoded.
    """
    missing = [dataset for dataset in datasets if not _place(dataset, size, Path(folder)).exists()]
    try:
        _check_room(missing, size, Path(folder))
    except OSError as error:
        raise _not_written(Path(folder), error, missing, size) from error
    return [CropCache.open(dataset, size, folder) for dataset in datasets]


def cache_key(dataset: CroppedImages, size: int) -> str:
    """Hash everything that the crops of a data set depend on, to 16 hexadecimal digits.

    Args:
        dataset: the images, with crop and margin.
        size: side of the squares in pixels.

    Raises:
        InputError: an image is missing.
    """
    made_of = hashlib.blake2b(digest_size=8)
    head = [FORMAT_VERSION, DECODER_VERSION, size, int(RESAMPLING), dataset.crop, dataset.margin]
    made_of.update(json.dumps(head).encode())
    if dataset.crop and dataset.boxes is not None:
        made_of.update(dataset.boxes.numpy().tobytes())
    for index, status in enumerate(_status(dataset)):
        name = dataset.source.name(index)
        made_of.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return made_of.hexdigest()


def resize_square(image: Image.Image, size: int) -> Image.Image:
    """Resize an image to a square; an image of this size is returned unchanged.

    Args:
        image: RGB picture of any shape.
        size: side of the square in pixels.
    """
    return image if image.size == (size, size) else image.resize((size, size), RESAMPLING)


def _status(dataset: CroppedImages) -> list[os.stat_result]:
    status = []
    for path in dataset.paths:
        try:
            status.append(path.stat())
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
    return status


def _header(dataset: CroppedImages) -> dict[str, Any]:
    made_of = hashlib.blake2b(digest_size=8)
    for status in _status(dataset):
        made_of.update(f"{status.st_ctime_ns}\n".encode())
    return {"format": FORMAT_VERSION, "decoder": DECODER_VERSION, "change_times": made_of.hexdigest()}


def _is_current(path: Path, dataset: CroppedImages, progress: bool) -> bool:
    """Whether a cache exists and holds the crops of the files as they are now."""
    try:
        found = parse_json((path / CROPS_HEADER).read_text())
        digests = (path / "digests.txt").read_text().split()
    except (OSError, ValueError):
        return False
    now = _header(dataset)
    if found == now:
        return True
    if not isinstance(found, dict) or {**found, "change_times": now["change_times"]} != now:
        return False  # another format
    title = f"comparing {dataset.name} images"
    read = in_threads(lambda index: digest(dataset.read(index)), len(dataset), title, progress)
    same = len(digests) == len(dataset) and all(one == other for one, other in zip(read, digests, strict=True))
    if same:
        with (
            contextlib.suppress(OSError),
            replacing(path / CROPS_HEADER) as beside,
        ):  # else compared again next time
            beside.write_text(json.dumps(now))
    return same


def _place(dataset: CroppedImages, size: int, folder: Path) -> Path:
    """Return the folder of a cache, which may not exist yet."""
    if not 1 <= size <= MAX_CROP_SIDE:
        raise InputError(f"image size {size} is out of range: use 1 to {MAX_CROP_SIDE} pixels")
    return folder / f"{dataset.name}-{size}-{cache_key(dataset, size)}"


def _bytes(datasets: Sequence[CroppedImages], size: int) -> int:
    return sum(map(len, datasets)) * size * size * 3


def _check_room(datasets: Sequence[CroppedImages], size: int, folder: Path) -> None:
    """Raise OSError if the disk is too full, before anything is decoded."""
    if not datasets:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < _bytes(datasets, size):
        raise OSError(f"only {show_bytes(free)} are free on the disk")


def _not_written(folder: Path, error: OSError, datasets: Sequence[CroppedImages], size: int) -> InputError:
    return InputError(
        f"the crop cache cannot be written to {folder} ({error.strerror or error}): set `data.cache_dir` to a writable "
        f"folder with {show_bytes(_bytes(datasets, size))} of free space, or delete caches with `carsfg cache clear`"
    )


def _build(dataset: CroppedImages, size: int, path: Path, progress: bool) -> None:
    """Write a cache beside `path` and rename it; no part of it is left if it fails."""
    remove_abandoned(path.parent, ABANDONED_SECONDS)
    remove(path)  # out of date
    with replacing(path, keep_folder=True) as beside:  # another process that was faster has written the same
        beside.mkdir()
        header = _header(dataset)  # before decoding: a file that changes meanwhile is compared at the next start
        _write(dataset, size, beside, progress)
        describe(beside, f"{len(dataset):,} {dataset.name} crops of {size} pixels", dataset.folder)
        (beside / CROPS_HEADER).write_text(json.dumps(header))
    _name_others(path)


def _write(dataset: CroppedImages, size: int, folder: Path, progress: bool) -> None:
    """Decode all images into `folder/images.npy`, `folder/digests.txt` and `folder/cells.npy`."""

    def crop(index: int) -> tuple[bytes, str, npt.NDArray[np.uint8]]:
        data = dataset.read(index)
        image = resize_square(dataset.decode(index, data), size)
        return image.tobytes(), digest(data), grey_cells(image)

    header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (len(dataset), size, size, 3)}
    digests, cells = [], np.empty((len(dataset), CELLS_SIDE, CELLS_SIDE), np.uint8)
    # ordinary writes: on a full disk they raise, whereas writing through a memory map kills the process
    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        crops = in_threads(crop, len(dataset), f"decoding {dataset.name} crops", progress)
        for index, (pixels, one, grey) in enumerate(crops):
            file.write(pixels)
            digests.append(one)
            cells[index] = grey
    np.save(folder / "cells.npy", cells, allow_pickle=False)
    (folder / "digests.txt").write_text("\n".join(digests) + "\n")


def _name_others(path: Path) -> None:
    """Print the names of other caches of the same images, since they take up space and are never removed."""
    name = path.name.partition("-")[0]
    others = sorted(other.name for other in path.parent.glob(f"{name}-*-*") if other != path and other.is_dir())
    if others:
        text = f"carsfg: {path.parent} also holds crops of other settings or older versions: {', '.join(others)}"
        print(f"{text}; `carsfg cache` lists and deletes them", file=sys.stderr)  # noqa: T201

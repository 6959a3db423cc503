"""The files of Stanford Cars on disk: where they are, and what the annotation files say."""

import zlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from carsfg.data.image_listing import SUFFIXES
from carsfg.errors import InputError

Split = Literal["train", "test"]
CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
# files and folders by which copies of Stanford Cars in other layouts are recognised
KAGGLE_FOLDERS = "Kaggle's folders per class (car_data, anno_train.csv, names.csv)"
OTHER_LAYOUTS = {
    "anno_train.csv": KAGGLE_FOLDERS,
    "car_data": KAGGLE_FOLDERS,
    "cars_annos.mat": "the older single folder (car_ims, cars_annos.mat)",
    "car_ims": "the older single folder (car_ims, cars_annos.mat)",
}
MAX_LOOKED_AT = 10_000  # entries of a folder, to see whether it holds photos
MAX_MAT_BYTES = 64 * 2**20  # of an annotation file, unpacked; the official ones have 5 MB
MAT_HEAD_BYTES, MAT_COMPRESSED = 128, 15  # of the format
OFFICIAL = "give the official files, `carsfg data fetch` lists them"


def find_folder(root: str | Path) -> Path:
    """Return the `stanford_cars` folder: `root/stanford_cars`, or `root` itself.

    Args:
        root: the folder that holds `stanford_cars/`, or `stanford_cars/` itself.

    Raises:
        InputError: neither holds a folder of the data set, or they cannot be read.
    """
    candidates = (Path(root) / "stanford_cars", Path(root))
    for folder in candidates:
        if any(_exists(folder / part) for part in ("devkit", "cars_train", "cars_test")):
            return folder
    other = other_layout(path.name for folder in candidates for path in _entries(folder))
    if other == KAGGLE_FOLDERS:
        raise InputError(f"{root} holds Stanford Cars as {other}: add --data=PhotoDataModule")
    if other:
        raise InputError(f"{root} holds Stanford Cars as {other}, which is not read: {OFFICIAL}")
    if holds_photos(Path(root)):
        raise InputError(
            f"{root} is not Stanford Cars: for photos in class folders, or named by a table, add --data=PhotoDataModule"
        )
    raise _no_data(candidates[0])


def other_layout(names: Iterable[str]) -> str | None:
    """Return a description of the layout that file or folder names belong to; None for no known other layout.

    Args:
        names: names without folders.
    """
    return next((OTHER_LAYOUTS[name] for name in names if name in OTHER_LAYOUTS), None)


def holds_photos(root: Path) -> bool:
    """Return whether a path is a table, or a folder that holds images, itself or in its sub-folders.

    Args:
        root: file or folder.
    """
    if root.is_file():
        return True
    try:
        inside = chain.from_iterable(root.glob(pattern) for pattern in ("*", "*/*", "*/*/*"))
        return any(path.suffix.lower() in SUFFIXES for path in islice(inside, MAX_LOOKED_AT))
    except OSError:
        return False


def find_images(folder: Path, split: Split) -> Path:
    """Return the image folder of a split; it may be doubled, as in `cars_train/cars_train`.

    Args:
        folder: `stanford_cars/`, as `find_folder` returns it.
        split: `train` or `test`.

    Raises:
        InputError: the folder is missing or cannot be read.
    """
    images = folder / f"cars_{split}"
    if not _exists(images):
        raise _no_data(images)
    return images / images.name if _exists(images / images.name) else images


def annotation_file(folder: Path, split: Split) -> Path:
    """Return the file with labels and boxes of a split.

    Args:
        folder: `stanford_cars/`, as `find_folder` returns it.
        split: `train` or `test`.

    Raises:
        InputError: it is missing.
    """
    if split == "train":
        return _existing(folder, "devkit/cars_train_annos.mat", "devkit/devkit/cars_train_annos.mat")
    name = "cars_test_annos_withlabels.mat"
    return _existing(folder, name, f"devkit/{name}", f"devkit/devkit/{name}")


def read_class_names(folder: Path) -> list[str]:
    """Read the class names, in label order.

    Args:
        folder: `stanford_cars/`, as `find_folder` returns it.

    Raises:
        InputError: `cars_meta.mat` is missing or damaged.
    """
    path = _existing(folder, "devkit/cars_meta.mat", "devkit/devkit/cars_meta.mat")
    return [str(name) for name in read_mat(path, "class_names")]


def read_annotations(path: Path) -> tuple[list[str], Tensor, Tensor]:
    """Read file names, labels and boxes of a split.

    Args:
        path: the file from `annotation_file`.

    Returns:
        File names without folders; int64 (N,) 0-based labels; int64 (N, 4) boxes `x0, y0, x1, y1` in pixels, 0-based
        and half-open.

    Raises:
        InputError: the file is damaged, or has no labels (as the devkit's own `cars_test_annos.mat`).
    """
    rows = read_mat(path, "annotations")
    try:
        # the integers of the file are uint8 and uint16: cast before subtracting, or they wrap around
        labels = rows["class"].astype(np.int64) - 1
        boxes = np.stack([rows[corner].astype(np.int64) for corner in CORNERS], axis=1)
        names = [PureWindowsPath(str(name)).name for name in rows["fname"]]  # some copies name the folder, too
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path} lacks labels, boxes or file names ({error}): {OFFICIAL}") from error
    boxes[:, :2] -= 1  # the corners are inclusive and count from 1: only the upper left one moves
    return names, torch.from_numpy(labels), torch.from_numpy(boxes)


def read_mat(path: Path, key: str) -> Any:
    """Read one variable of a `.mat` file as a one-dimensional array, which must not be changed.

    An unchanged file is parsed only once, since one `fit` asks for the class names many times.

    Args:
        path: `.mat` file to parse.
        key: name of the variable.

    Raises:
        InputError: the file cannot be read, or is damaged.
    """
    try:
        status = path.stat()
        with path.open("rb"):  # scipy reports every kind of error as damage
            pass
    except OSError as error:
        raise _unreadable(path, error) from error
    return _parse_mat(path, key, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=8)
def _parse_mat(path: Path, key: str, status: tuple[int, ...]) -> Any:  # noqa: ARG001  (part of the cache key)
    import scipy.io

    try:
        _check_unpacked(path)
        return np.atleast_1d(scipy.io.loadmat(str(path), squeeze_me=True, variable_names=[key])[key])
    except NotImplementedError:
        raise InputError(f"{path} was saved as MATLAB 7.3, which is not read: save it with the option -v7") from None
    except Exception as error:  # scipy raises a dozen kinds for a damaged file
        raise InputError(f"cannot read {key!r} from {path} ({error}): {OFFICIAL}") from error


def _check_unpacked(path: Path) -> None:
    """Refuse a file with variables that unpack to more than annotations can have.

    Raises:
        ValueError: it has more than 64 MB.
    """
    with path.open("rb") as file:
        data = memoryview(file.read(MAX_MAT_BYTES + 1))
    order: Literal["little", "big"] = "big" if bytes(data[126:128]) == b"MI" else "little"
    place, unpacked = MAT_HEAD_BYTES, len(data)
    while place + 8 <= len(data) and unpacked <= MAX_MAT_BYTES:
        kind, length = (int.from_bytes(data[start : start + 4], order) for start in (place, place + 4))
        if kind == MAT_COMPRESSED:
            packed = data[place + 8 : place + 8 + length]
            unpacked += len(zlib.decompressobj().decompress(packed, MAX_MAT_BYTES + 1))
        place += 8 + length
    if unpacked > MAX_MAT_BYTES:
        raise ValueError(f"it has more than {MAX_MAT_BYTES // 2**20} MB")


def check_present(images: Path, names: list[str], annotations: Path) -> None:
    """Check that every annotated image is on disk.

    Args:
        images: directory that should contain every annotated file.
        names: the N annotated file names.
        annotations: the annotation file, for the message.

    Raises:
        InputError: some are missing, or the folder cannot be read.
    """
    try:
        present = {path.name for path in images.iterdir()}
    except OSError as error:
        raise _unreadable(images, error) from error
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(names)} images in {annotations} are missing, the first is "
            f"{images / missing[0]}: `carsfg data fetch` says where to get them"
        )


def check_labels(labels: Tensor, classes: int, names: list[str], annotations: Path) -> None:
    """Check that every label has a class name.

    Args:
        labels: int64 (N,), 0-based.
        classes: number of class names.
        names: the N file names.
        annotations: the annotation file, for the message.

    Raises:
        InputError: a label has no class name.
    """
    for index in ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist():
        raise InputError(
            f"{annotations} gives {names[index]} the class {int(labels[index]) + 1}, but cars_meta.mat names only "
            f"classes 1 to {classes}: use annotation files that belong together"
        )


def _existing(folder: Path, *candidates: str) -> Path:
    """Return the first of `candidates` that exists."""
    for candidate in candidates:
        if _exists(folder / candidate):
            return folder / candidate
    raise InputError(f"the annotation file {folder / candidates[0]} is missing: `carsfg data fetch` says where it is")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # no permission to look into its folder
        raise _unreadable(path, error) from error


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _unreadable(path: Path, error: OSError) -> InputError:
    hint = ": check its permissions" if isinstance(error, PermissionError) else ""
    return InputError(f"cannot read {path} ({error.strerror or error}){hint}")


def _no_data(missing: Path) -> InputError:
    return InputError(
        f"no Stanford Cars data in {missing}: get it with `carsfg data fetch`, or use drawn cars with "
        "`--config demo.yaml`"
    )

"""Where the files of Stanford Cars lie, and what its annotation files say."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from carsfg.errors import InputError

Split = Literal["train", "test"]
CORNERS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def find_folder(root: str | Path) -> Path:
    """Find the `stanford_cars` folder: `root/stanford_cars`, or `root` itself.

    Args:
        root: the folder that holds `stanford_cars/`, or `stanford_cars/` itself.

    Raises:
        InputError: neither holds any of the data set's folders.
    """
    for folder in (Path(root) / "stanford_cars", Path(root)):
        if any((folder / part).is_dir() for part in ("devkit", "cars_train", "cars_test")):
            return folder
    raise _no_data(Path(root) / "stanford_cars")


def find_images(folder: Path, split: Split) -> Path:
    """Find the image folder of a split, doubled or not.

    Args:
        folder: as `find_folder` finds it.
        split: `train` or `test`.

    Raises:
        InputError: there is none.
    """
    images = folder / f"cars_{split}"
    if not images.is_dir():
        raise _no_data(images)
    return images / images.name if (images / images.name).is_dir() else images


def annotation_file(folder: Path, split: Split) -> Path:
    """Find the file with labels and boxes of a split.

    Args:
        folder: as `find_folder` finds it.
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
        folder: as `find_folder` finds it.

    Raises:
        InputError: `cars_meta.mat` is missing or damaged.
    """
    path = _existing(folder, "devkit/cars_meta.mat", "devkit/devkit/cars_meta.mat")
    return [str(name) for name in _read_mat(path, "class_names")]


def read_annotations(path: Path) -> tuple[list[str], Tensor, Tensor]:
    """Read file names, 0-based labels int64 (N,) and 0-based half-open boxes int64 (N, 4).

    Args:
        path: as `annotation_file` finds it.

    Raises:
        InputError: the file is damaged, or has no labels (as the devkit's own `cars_test_annos.mat`).
    """
    rows = _read_mat(path, "annotations")
    try:
        # the file's integers are uint8 and uint16: subtracting first would wrap around
        labels = rows["class"].astype(np.int64) - 1
        boxes = np.stack([rows[corner].astype(np.int64) for corner in CORNERS], axis=1)
        names = [str(name) for name in rows["fname"]]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path} lacks labels, boxes or file names ({error}): fetch it again.") from error
    boxes[:, :2] -= 1  # inclusive corners counted from 1: only the upper left one moves
    return names, torch.from_numpy(labels), torch.from_numpy(boxes)


def _read_mat(path: Path, key: str) -> Any:
    """Read one variable of a .mat file as a 1-d array."""
    import scipy.io

    try:
        return np.atleast_1d(scipy.io.loadmat(str(path), squeeze_me=True, variable_names=[key])[key])
    except Exception as error:  # scipy raises a dozen kinds for a damaged file
        raise InputError(f"{path} is no readable annotation file ({error}): fetch it again.") from error


def _existing(folder: Path, *candidates: str) -> Path:
    """Give the first of `candidates` that is a file."""
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise InputError(
        f"the annotation file {folder / candidates[0]} is missing: `carsfg data fetch` says where to get it."
    )


def _no_data(missing: Path) -> InputError:
    return InputError(
        f"no Stanford Cars data in {missing}: get it with `carsfg data fetch`, "
        "or use drawn cars with `--config demo.yaml`."
    )


def check_present(images: Path, names: list[str], source: Path) -> None:
    """Check that every annotated image is there.

    Args:
        images: the folder of the images.
        names: the annotated file names.
        source: the annotation file, for the message.

    Raises:
        InputError: some are missing.
    """
    present = {path.name for path in images.iterdir()}
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(names)} images that {source} names are missing, the first is "
            f"{images / missing[0]}: `carsfg data fetch` says where to get them."
        )


def check_labels(labels: Tensor, classes: int, names: list[str], source: Path) -> None:
    """Check that every label has a class name.

    Args:
        labels: int64 (N,), 0-based.
        classes: the number of class names.
        names: the N file names.
        source: the annotation file, for the message.

    Raises:
        InputError: one has none.
    """
    for index in ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist():
        raise InputError(
            f"{source} gives {names[index]} the class {int(labels[index]) + 1}, but cars_meta.mat names only "
            f"classes 1 to {classes}: the annotation files do not belong together."
        )

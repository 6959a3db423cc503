"""Images that a user names by a path: class folders, a folder of photos, a table, or Stanford Cars in its layouts."""

import os.path
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from carsfg.data.crop_cache import resize_square
from carsfg.data.cropped_images import CroppedImages, to_tensor
from carsfg.data.image_listing import list_images
from carsfg.data.sources.annotations import Split, annotation_file, find_folder, read_annotations
from carsfg.data.sources.any_source import read_photos
from carsfg.data.sources.identity import known_names_only
from carsfg.data.sources.source import ImageSource, Part, boxes_or_none, pool
from carsfg.data.sources.stanford_cars import read_stanford_cars
from carsfg.data.sources.table import Columns
from carsfg.errors import InputError

SPLITS: tuple[Split, Split] = ("train", "test")  # of Stanford Cars


def find_photos(
    path: str | Path,
    crop: bool = True,
    margin: float = 0.0,
    split: Part | None = None,
    images: str | None = None,
    columns: Columns | None = None,
    class_level: int = 1,
) -> CroppedImages:
    """Find images and all that is known about them, as training does; a folder without sub-folders is one class, too.

    Args:
        path: folder or table; Stanford Cars is recognised by its annotations, all else as `read_photos` does.
        crop: cut images to the boxes of the source.
        margin: share of the box's width and height added on each side.
        split: the split to take; by default all images.
        images: see `read_table`.
        columns: see `read_table`.
        class_level: see `read_folders`.

    Returns:
        The images. `boxes` is None if no image has a box. Attributes are read from class names only for Stanford Cars
        and drawn cars.

    Raises:
        InputError: the path does not exist or cannot be read, has no images or no such split, its annotations are
            damaged, or a box leaves its image.
    """
    path = Path(path)
    if not (is_folder(path) or os.path.isfile(path)):  # noqa: PTH113 - pathlib's raises, see is_folder
        raise InputError(f"the folder or table {path} does not exist")
    source = _read(path, split, images, columns, class_level)
    # one split of a table may have no boxes
    return CroppedImages(replace(source, boxes=boxes_or_none(source.boxes)), crop=crop, margin=margin)


def is_folder(path: str | Path) -> bool:
    """Return True if the path is a folder; False also if it cannot be accessed.

    Args:
        path: file or directory, which may be unreadable or missing.
    """
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises for overlong names and unreadable folders


def is_stanford_cars(folder: str | Path) -> bool:
    """Return whether a folder holds Stanford Cars or drawn cars, by the annotations of the training split.

    Args:
        folder: the folder that holds `stanford_cars/`, or `stanford_cars/` itself.
    """
    try:
        return annotation_file(find_folder(folder), "train").is_file()
    except InputError:
        return False


def to_square(image: Image.Image, size: int) -> Tensor:
    """Resize an RGB image of any shape to uint8 (3, size, size), exactly as the crop cache does for training.

    Args:
        image: RGB picture of any size.
        size: side of the result in pixels.
    """
    return to_tensor(resize_square(image, size))


def _read(path: Path, split: Part | None, images: str | None, columns: Columns | None, class_level: int) -> ImageSource:
    if is_stanford_cars(path):
        return _read_stanford_cars(path, split)
    annotated = next((inner.parent for inner in path.glob("*/stanford_cars") if is_stanford_cars(inner)), None)
    if annotated:
        raise InputError(f"{path} is not a folder of images, but {annotated} is Stanford Cars: name that folder")
    try:
        source = read_photos(path, images, columns, class_level)
    except InputError:
        flat = _read_flat(path) if path.is_dir() and class_level == 1 else None
        if flat is None:
            raise
        source = flat
    if split is None:
        return source
    if source.parts is None:
        where = "no column 'split'" if path.is_file() else "no folders train and test"
        raise InputError(f"{path} has no split {split!r}: it has {where}")
    if split not in source.parts:
        raise _no_such_split(path, split, sorted(set(source.parts)))
    return source.take(np.flatnonzero(np.array(source.parts) == split))


def _read_stanford_cars(folder: Path, split: Part | None) -> ImageSource:
    """Read one split or both; the labels of both say whether the class names are those of Stanford Cars."""
    wanted = [one for one in SPLITS if split in (None, one)]
    if not wanted:
        raise _no_such_split(folder, str(split), list(SPLITS))
    source = replace(pool([read_stanford_cars(folder, one) for one in wanted]), folder=folder)
    labels = [source.labels[np.array(source.parts) == one] for one in SPLITS]
    for place, one in enumerate(SPLITS):
        if one not in wanted:
            annotations = annotation_file(find_folder(folder), one)
            labels[place] = read_annotations(annotations)[1] if annotations.is_file() else labels[place]
    return known_names_only(source, folder, labels)


def _no_such_split(path: Path, split: str, others: list[str]) -> InputError:
    return InputError(f"{path} has no split {split!r}, but {' and '.join(others)}")


def _read_flat(folder: Path) -> ImageSource | None:
    """Return the images that lie in the folder itself, as one class of its name; None if some lie in sub-folders."""
    found = list_images(folder)
    if not found.paths or any(path.parent != folder for path in found.paths):
        return None
    name = unicodedata.normalize("NFC", folder.resolve().name)
    labels = torch.zeros(len(found.paths), dtype=torch.int64)
    return ImageSource(folder, found.paths, labels, [name], left_out=found.left_out)

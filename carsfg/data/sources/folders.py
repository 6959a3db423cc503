"""Photos in class folders: `ROOT/<class>/*.jpg`, or `ROOT/{train,val,test}/<class>/...`."""

import unicodedata
from collections import Counter
from pathlib import Path

import torch

from carsfg.data.image_listing import SUFFIXES, Listing, list_images
from carsfg.data.sources.source import ImageSource, Part
from carsfg.errors import InputError

PART_FOLDERS: dict[str, Part] = {
    "train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


def read_folders(root: str | Path, class_level: int = 1) -> ImageSource:
    """Read a folder whose sub-folders are classes.

    If `root` has a folder `train` and at least one of `val` (`valid`, `validation`) and `test`, in any case of letters,
    these are the splits, and the classes lie inside them. Class names are brought to Unicode's composed form (NFC):
    folders that were copied by a Mac and that look the same are one class. Label order is alphabetical. Images are in
    the order of their splits and file names, whatever their classes are called: files that a table or annotations list
    by name are then in the same order, and ties and intervals come out the same. See `list_images` for the files that
    are taken.

    Args:
        root: folder with images at any depth.
        class_level: which folder names the class: 1 for the first one below `root` (or below `train`), 2 for the next.

    Raises:
        InputError: `root` cannot be read or has no images in class folders, a folder stands beside the splits, or the
            level is below 1.
    """
    root = Path(root)
    if class_level < 1:
        raise InputError(f"data.class_level {class_level} must be 1 or more")
    if not root.is_dir():
        raise InputError(f"the folder {root} does not exist")
    found = list_images(root)
    if not found.paths:
        suffix = f"; {found.left_out}" if found.left_out else ""
        raise InputError(f"no image in {root}: looked for {', '.join(SUFFIXES)} files{suffix}")
    steps = [path.relative_to(root).parts[:-1] for path in found.paths]
    splits = _split_folders(root, Counter(one[0] for one in steps if one))
    place = class_level if splits else class_level - 1
    kept = [row for row, one in enumerate(steps) if len(one) > place]
    order = list(dict.fromkeys(PART_FOLDERS.values()))
    kept.sort(key=lambda row: (order.index(splits[steps[row][0]]) if splits else 0, found.paths[row].name, row))
    if len(kept) < len(steps):
        found.skipped[f"outside a class folder of level {class_level}"] += len(steps) - len(kept)
    if not kept:
        raise InputError(f"no image in {root} lies in a class folder of level {class_level}: {_layouts(found)}")
    of_each = [unicodedata.normalize("NFC", steps[row][place]) for row in kept]
    class_names = sorted(set(of_each))
    label = {name: number for number, name in enumerate(class_names)}
    return ImageSource(
        folder=root,
        paths=[found.paths[row] for row in kept],
        labels=torch.tensor([label[name] for name in of_each], dtype=torch.int64),
        class_names=class_names,
        parts=[splits[steps[row][0]] for row in kept] if splits else None,
        left_out=found.left_out,
    )


def _split_folders(root: Path, images: Counter[str]) -> dict[str, Part]:
    """Return the part of each first folder if they are splits, else nothing."""
    parts = {name: PART_FOLDERS[name.lower()] for name in images if name.lower() in PART_FOLDERS}
    if "train" not in parts.values() or len(set(parts.values())) < 2:
        return {}
    if others := [name for name in images if name not in parts]:
        raise InputError(
            f"{root} has the splits {', '.join(sorted(parts))}, but also {sorted(others)[0]!r} with "
            f"{images[sorted(others)[0]]} images: move it away, or name the images in a table"
        )
    return parts


def _layouts(found: Listing) -> str:
    suffix = f"; {found.left_out}" if found.left_out else ""
    return f"sort the images into one folder per class, or name their classes in a table{suffix}"

"""Stanford Cars as Kaggle's mirror by class folders has it: folders per class, and boxes in CSV files."""

import csv
from pathlib import Path

import torch

from carsfg.data.class_names import class_attributes
from carsfg.data.image_listing import list_images
from carsfg.data.sources.source import ImageSource, Part
from carsfg.errors import InputError

PARTS: tuple[Part, Part] = ("train", "test")
MIRROR_FILES = ("names.csv", "anno_train.csv", "anno_test.csv")


def is_kaggle_cars(root: Path) -> bool:
    """Return whether a folder is Stanford Cars as `jutrera/stanford-car-dataset-by-classes-folder` has it.

    Args:
        root: the folder that holds `car_data`, `names.csv`, `anno_train.csv` and `anno_test.csv`.
    """
    return all((root / name).is_file() for name in MIRROR_FILES)


def read_kaggle_cars(root: Path) -> ImageSource:
    """Read the mirror. Classes and boxes come from the CSV files, so class names are those of the annotations.

    A line of `anno_train.csv` is `00001.jpg,39,116,569,375,14`: file, corners of the box counted from 1 and inclusive,
    class counted from 1. The corners become 0-based and half-open. `names.csv` has a class name per line.

    Args:
        root: the folder that holds `car_data`, `names.csv`, `anno_train.csv` and `anno_test.csv`.

    Raises:
        InputError: a file is damaged, an image is missing, or a line names an unknown class.
    """
    class_names = [line.strip() for line in _lines(root / "names.csv") if line.strip()]
    files = {(path.parent.parent.name, path.name): path for path in list_images(root).paths}
    paths: list[Path] = []
    numbers: list[list[int]] = []
    parts: list[Part] = []
    for part in PARTS:
        table = root / f"anno_{part}.csv"
        for place, row in enumerate(csv.reader(_lines(table)), 1):
            try:
                name, (x0, y0, x1, y1, label) = row[0], map(int, row[1:])
            except (ValueError, IndexError):
                raise InputError(f"{table}, row {place} is not a file name with five whole numbers") from None
            if (part, name) not in files:
                raise InputError(f"{table}, row {place}: there is no image {part}/CLASS/{name} below {root}")
            if not 1 <= label <= len(class_names):
                raise InputError(f"{table}, row {place}: class {label}, but names.csv has {len(class_names)}")
            paths.append(files[part, name])
            numbers.append([x0 - 1, y0 - 1, x1, y1, label - 1])
            parts.append(part)
    values = torch.tensor(numbers, dtype=torch.int64).reshape(-1, 5)
    labels = values[:, 4].contiguous()
    return ImageSource(
        folder=root,
        paths=paths,
        labels=labels,
        class_names=class_names,
        boxes=values[:, :4].contiguous(),
        parts=parts,
        attributes=class_attributes(class_names, labels),
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error

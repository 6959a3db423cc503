"""The source that a path holds, by what lies there."""

from pathlib import Path

from carsfg.data.sources.folders import read_folders
from carsfg.data.sources.kaggle_cars import is_kaggle_cars, read_kaggle_cars
from carsfg.data.sources.source import ImageSource
from carsfg.data.sources.table import Columns, read_table


def read_photos(
    root: str | Path, images: str | None = None, columns: Columns | None = None, class_level: int = 1
) -> ImageSource:
    """Read a table if `root` is a file, Kaggle's copy of Stanford Cars if its files are there, or class folders.

    Args:
        root: folder or table.
        images: see `read_table`.
        columns: see `read_table`.
        class_level: see `read_folders`.

    Raises:
        InputError: as those functions raise it.
    """
    root = Path(root)
    if root.is_file():
        return read_table(root, images, columns)
    if is_kaggle_cars(root):
        return read_kaggle_cars(root)
    return read_folders(root, class_level)

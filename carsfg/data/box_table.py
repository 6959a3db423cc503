"""Boxes of many photos from a CSV table."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carsfg.data.image_io import Box
from carsfg.errors import InputError

CORNERS, SIDES = ("x0", "y0", "x1", "y1"), ("x", "y", "width", "height")


@dataclass(frozen=True)
class BoxTable:
    """Boxes by photo.

    Attributes:
        path: of the table.
        boxes: `x0, y0, x1, y1` in pixels, half-open, by absolute path of the photo.
        rows: number of the row in the table that each box was read from, by absolute path of the photo.
    """

    path: Path
    boxes: Mapping[str, Box]
    rows: Mapping[str, int]

    @classmethod
    def read(cls, path: str | Path, images: str | Path | None = None) -> "BoxTable":
        """Read a table with the columns `path` and `x0, y0, x1, y1`, or `x, y, width, height`, in pixels.

        Further columns are ignored. Relative paths begin at the folder of the images, or else at the table's.

        Args:
            path: CSV file with a header.
            images: folder of the images.

        Raises:
            InputError: the file cannot be read, a column is missing, a row has no path or four whole numbers, its box
                is empty or begins outside the photo, or a photo has two rows.
        """
        path = Path(path)
        boxes: dict[str, Box] = {}
        rows: dict[str, int] = {}
        folder = path.parent if images is None else Path(images)
        for number, row in _read_rows(path):
            where = f"{path}, row {number}"
            if not row.get("path"):
                raise InputError(f"{where}: the path is empty")
            photo = _absolute(folder / row["path"])
            if photo in boxes:
                raise InputError(f"{where}: a second box for {row['path']!r}, after row {rows[photo]}: keep one")
            boxes[photo], rows[photo] = _box(row, where), number
        return cls(path, boxes, rows)

    def find(self, photo: str | Path) -> Box | None:
        """Return the box of a photo; None if the table has no row for it.

        Args:
            photo: path of the photo.
        """
        return self.boxes.get(_absolute(photo))

    def name(self, photo: str | Path) -> str:
        """Return the name of a photo for error messages, with its row.

        Args:
            photo: path of a photo with a box.
        """
        return f"{photo} ({self.path}, row {self.rows[_absolute(photo)]})"


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows with their numbers; the first one after the header is row 2."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, {str(key).strip(): value or "" for key, value in row.items()}) for row in reader]
            names = [name.strip() for name in reader.fieldnames or []]
    except FileNotFoundError:
        raise InputError(f"no table of boxes {path}") from None
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table of boxes {path}: {error}") from error
    missing = [name for name in ("path", *(SIDES if "width" in names else CORNERS)) if name not in names]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(map(repr, missing))}: it needs path and {','.join(CORNERS)}, or path and "
            f"{','.join(SIDES)}"
        )
    return rows


def _box(row: Mapping[str, str], where: str) -> Box:
    names = SIDES if "width" in row else CORNERS
    try:
        x0, y0, x1, y1 = (int(row[name]) for name in names)
    except ValueError:
        given = ",".join(row[name] for name in names)
        raise InputError(f"{where}: the box {given!r} must be four whole numbers, {','.join(names)}") from None
    if names is SIDES:
        x1, y1 = x0 + x1, y0 + y1
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise InputError(f"{where}: the box {x0},{y0},{x1},{y1} is empty or begins outside the photo")
    return x0, y0, x1, y1


def _absolute(path: str | Path) -> str:
    """Return a path to compare by: links in it stay, since many photos may be links to one."""
    return os.path.abspath(path)  # noqa: PTH100 - pathlib's absolute() keeps `..`

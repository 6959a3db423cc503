"""Photos named by a table: a row per image, or per object in an image, with its class, box, split and more."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from carsfg.data.sources.folders import PART_FOLDERS
from carsfg.data.sources.source import NO_BOX, ImageSource, Part, boxes_or_none
from carsfg.errors import InputError
from carsfg.hardware import check_memory
from carsfg.untrusted import parse_json

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson")
CELL_BYTES = 64  # of memory that a cell of a table takes, at least
PARQUET_ERRORS = (NotImplementedError, KeyError, IndexError, TypeError, RuntimeError)  # of pyarrow, beside OSError
ROWS_AT_A_TIME = 256  # of a Parquet file
CORNERS, SIZES = ("x0", "y0", "x1", "y1"), ("x", "y", "width", "height")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table.

    Attributes:
        path: image file, relative to the table or to `data.images`.
        label: class of the image.
        split: `train`, `val` (`valid`, `validation`) or `test`.
        group: name of the physical object; images of one group stay in one split.
        x0: left edge of the box in pixels, from 0; used with `y0`, `x1` and `y1`.
        y0: upper edge of the box.
        x1: right edge of the box, the first column outside.
        y1: lower edge of the box, the first row outside.
        x: left edge of the box; used with `y`, `width` and `height`.
        y: upper edge of the box.
        width: of the box in pixels.
        height: of the box in pixels.
    """

    path: str = "path"
    label: str = "label"
    split: str = "split"
    group: str = "group"
    x0: str = "x0"
    y0: str = "y0"
    x1: str = "x1"
    y1: str = "y1"
    x: str = "x"
    y: str = "y"
    width: str = "width"
    height: str = "height"


Row = Mapping[str, Any]


def read_table(table: str | Path, images: str | Path | None = None, columns: Columns | None = None) -> ImageSource:
    """Read a table of images: CSV with a header, Parquet, or JSON lines.

    The columns `path` and `label` are needed. A box is given by `x0, y0, x1, y1` or by `x, y, width, height`, in pixels
    of the upright image, 0-based and half-open; fractions are widened to whole pixels; a row without a box is a whole
    image. Columns without a meaning of their own become attributes. Label order is alphabetical.

    Args:
        table: file that ends in .csv, .parquet, .jsonl or .ndjson.
        images: folder that paths are relative to; by default that of the table.
        columns: names of the columns, where they differ.

    Raises:
        InputError: the table cannot be read, a column or a file is missing, or a row has no class, an unknown split or
            a box without area; the message names the row, counted from 1 without the header.
    """
    table, columns = Path(table), columns or Columns()
    folder = Path(images) if images is not None else table.parent
    rows = list(_read_rows(table))
    if not rows:
        raise InputError(f"{table} has no rows")
    names = list(dict.fromkeys(name for row in rows for name in row))
    _check_columns(table, names, columns)
    labels = [_text(row, columns.label) for row in rows]
    for number, (row, label) in enumerate(zip(rows, labels, strict=True), 1):
        if not label or not _text(row, columns.path):
            missing = columns.path if label else columns.label
            raise InputError(f"{table}, row {number}: {missing!r} is empty")
    class_names = sorted(set(labels))
    place = {name: label for label, name in enumerate(class_names)}
    paths = [folder / _text(row, columns.path) for row in rows]
    _check_files(table, paths)
    known = set(asdict(columns).values())
    return ImageSource(
        folder=folder,
        paths=paths,
        labels=torch.tensor([place[label] for label in labels], dtype=torch.int64),
        class_names=class_names,
        boxes=_boxes(table, rows, names, columns),
        groups=[_text(row, columns.group) for row in rows] if columns.group in names else None,
        parts=_parts(table, rows, columns.split) if columns.split in names else None,
        attributes={name: [_text(row, name) for row in rows] for name in names if name not in known},
    )


def _read_rows(table: Path) -> Iterator[Row]:
    suffix = table.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet_rows(table)
        elif suffix == ".csv":
            with table.open(newline="", encoding="utf-8-sig") as file:
                yield from _csv_rows(file, table)
        elif suffix in SUFFIXES:
            with table.open(encoding="utf-8-sig") as file:
                yield from _json_rows(file, table)
        else:
            raise InputError(f"{table} is not a table: use a file that ends in {', '.join(SUFFIXES)}")
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    except (OSError, ValueError, csv.Error, MemoryError, *PARQUET_ERRORS) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(f"the table {table} cannot be read: {reason}") from error


def _parquet_rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, whose encoding can make a small file of very many or very long cells."""
    from pyarrow import parquet

    with parquet.ParquetFile(table) as file:
        facts, columns = file.metadata, [file.schema.column(place) for place in range(file.metadata.num_columns)]
        unpacked = max((facts.row_group(place).total_byte_size for place in range(facts.num_row_groups)), default=0)
        needed = max(CELL_BYTES * facts.num_rows * len(columns), unpacked)
        check_memory(f"{table} has {facts.num_rows:,} rows:", needed, "use a smaller table")
        texts = [one.name for one in columns if one.physical_type == "BYTE_ARRAY" and one.path == one.name]
    # as dictionaries: of equal long texts, one is in memory until their length is known
    with parquet.ParquetFile(table, read_dictionary=texts) as file:
        for batch in file.iter_batches(ROWS_AT_A_TIME):
            _check_cells(batch)
            yield from batch.to_pylist()


def _check_cells(batch: Any) -> None:
    from pyarrow import compute, types

    for column in batch.columns:
        if types.is_dictionary(column.type) and len(column.dictionary):
            longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
            if longest > csv.field_size_limit():
                raise ValueError(f"a cell has more than {csv.field_size_limit():,} bytes")


def _csv_rows(file: Any, table: Path) -> Iterator[Row]:
    reader = csv.DictReader(file, strict=True)
    for number, row in enumerate(reader, 1):
        if None in row or None in row.values():
            raise InputError(
                f"{table}, row {number} has another number of cells than the header ({len(reader.fieldnames or [])}): "
                "put cells with commas in quotes"
            )
        yield {name.strip(): value for name, value in row.items()}


def _json_rows(file: Any, table: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{table}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{table}, line {number} is not a JSON object")
        yield {name.strip(): value for name, value in row.items()}


def _check_columns(table: Path, names: list[str], columns: Columns) -> None:
    for field, column in asdict(columns).items():
        is_needed = field in ("path", "label")
        if column not in names and (is_needed or column != field):
            raise InputError(
                f"{table} has no column {column!r}, but {', '.join(map(repr, names))}: name the right one with "
                f"--data.columns.{field}=NAME"
            )


def _check_files(table: Path, paths: list[Path]) -> None:
    missing = [row for row, path in enumerate(paths, 1) if not path.is_file()]
    if missing:
        raise InputError(
            f"{table}: {len(missing):,} of {len(paths):,} image files are missing, the first in row {missing[0]}: "
            f"{paths[missing[0] - 1]}; name their folder with --data.images"
        )


def _parts(table: Path, rows: list[Row], column: str) -> list[Part]:
    parts: list[Part] = []
    for number, row in enumerate(rows, 1):
        text = _text(row, column)
        if text.lower() not in PART_FOLDERS:
            raise InputError(f"{table}, row {number}: {column} {text!r} is not one of {', '.join(PART_FOLDERS)}")
        parts.append(PART_FOLDERS[text.lower()])
    return parts


def _boxes(table: Path, rows: list[Row], names: list[str], columns: Columns) -> torch.Tensor | None:
    """Return the boxes int64 (N, 4), or None if the table has no columns for them, or only empty ones."""
    all_names = asdict(columns)
    for kind in (CORNERS, SIZES):
        used = [all_names[field] for field in kind]
        if all(name in names for name in used):
            boxes = [_box(table, number, row, used, kind is SIZES) for number, row in enumerate(rows, 1)]
            return boxes_or_none(torch.tensor(boxes, dtype=torch.int64))
    return None


def _box(table: Path, number: int, row: Row, used: list[str], is_size: bool) -> tuple[int, ...]:
    texts = [_text(row, name) for name in used]
    if not any(texts):
        return NO_BOX
    try:
        a, b, c, d = (float(text) for text in texts)
    except ValueError:
        raise InputError(f"{table}, row {number}: the box {', '.join(texts)!r} is not four numbers") from None
    if is_size:
        c, d = a + c, b + d
    if not all(map(math.isfinite, (a, b, c, d))) or not (0 <= a < c and 0 <= b < d):
        raise InputError(f"{table}, row {number}: the box ({a:g}, {b:g}, {c:g}, {d:g}) has no area inside an image")
    return math.floor(a), math.floor(b), math.ceil(c), math.ceil(d)


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()

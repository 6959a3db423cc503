"""Tables of images: formats, columns, boxes, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from carsfg.data.sources.table import Columns, read_table
from carsfg.errors import InputError
from tests.data.test_image_folder import fill

BOX = ("x0", "y0", "x1", "y1")
ROWS: list[dict[str, Any]] = [
    {"path": "in/1.jpg", "label": "Golf", "split": "train", "group": "red", "colour": "red"}
    | dict(zip(BOX, (1, 2, 5, 6), strict=True)),
    {"path": "in/1.jpg", "label": "Astra", "split": "Validation", "group": "", "colour": ""} | dict.fromkeys(BOX),
    {"path": "2 é.png", "label": "Golf", "split": "test", "group": "red", "colour": "blue"}
    | dict(zip(BOX, (0.5, 0, 2.1, 8), strict=True)),
]


def write(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows as a table of one of the formats, beside two images."""
    fill(folder, "in/1.jpg", "2 é.png")
    file = folder / f"cars{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif suffix == ".csv":
        lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        file.write_text("\n".join(lines), encoding="utf-8-sig")
    else:
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".ndjson"])
def test_all_columns_in_every_format(suffix: str, tmp_path: Path) -> None:
    source = read_table(write(tmp_path, suffix, ROWS))
    assert source.paths == [tmp_path / "in/1.jpg", tmp_path / "in/1.jpg", tmp_path / "2 é.png"]
    assert source.class_names == ["Astra", "Golf"]
    assert source.labels.tolist() == [1, 0, 1]
    assert source.parts == ["train", "val", "test"]
    assert source.groups == ["red", "", "red"]
    assert source.attributes == {"colour": ["red", "", "blue"]}
    assert source.boxes is not None
    assert source.boxes.tolist() == [[1, 2, 5, 6], [-1, -1, -1, -1], [0, 0, 3, 8]]  # widened to whole pixels


def test_two_columns_are_enough(tmp_path: Path) -> None:
    source = read_table(write(tmp_path, ".csv", [{"path": "in/1.jpg", "label": 10}, {"path": "2 é.png", "label": 9}]))
    assert source.class_names == ["10", "9"]
    assert (source.boxes, source.groups, source.parts, source.attributes) == (None, None, None, {})


def test_sizes_instead_of_corners(tmp_path: Path) -> None:
    rows = [{"path": "in/1.jpg", "label": "a", "x": 1, "y": 2, "width": 3, "height": 4}]
    source = read_table(write(tmp_path, ".jsonl", rows))
    assert source.boxes is not None
    assert source.boxes.tolist() == [[1, 2, 4, 6]]


def test_boxes_that_are_all_empty_are_none(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, ".csv", [row | dict.fromkeys(BOX) for row in ROWS])).boxes is None


def test_spaces_around_the_names_of_columns(tmp_path: Path) -> None:
    file = write(tmp_path, ".csv", [{"path": "in/1.jpg", " label": "Golf", " colour ": "red"}])
    assert read_table(file).attributes == {"colour": ["red"]}


def test_columns_of_other_names_and_images_elsewhere(tmp_path: Path) -> None:
    file = write(tmp_path / "tables", ".csv", [{"file": "1.jpg", "model": "Golf", "label": "x"}])
    source = read_table(file, tmp_path / "tables/in", Columns(path="file", label="model"))
    assert (source.class_names, source.paths) == (["Golf"], [tmp_path / "tables/in/1.jpg"])
    assert source.name(0) == "1.jpg"
    assert source.attributes == {"label": ["x"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": ""}, "row 2: 'path' is empty"),
        ({"label": " "}, "row 2: 'label' is empty"),
        ({"split": "dev"}, "row 2: split 'dev' is not one of train, val, valid, validation, test"),
        ({"path": "gone.jpg"}, r"1 of 2 image files are missing, the first in row 2: .*gone\.jpg; .*--data\.images"),
        ({"x0": "left", "y0": 0, "x1": 1, "y1": 1}, "row 2: the box 'left, 0, 1, 1' is not four numbers"),
        ({"x0": 5, "y0": 0, "x1": 5, "y1": 1}, r"row 2: the box \(5, 0, 5, 1\) has no area inside an image"),
        ({"x0": -1, "y0": 0, "x1": 5, "y1": 1}, r"row 2: the box \(-1, 0, 5, 1\) has no area inside an image"),
        ({"x0": 1, "y0": 0, "x1": "nan", "y1": 1}, r"row 2: the box \(1, 0, nan, 1\) has no area"),
        ({"x0": 1}, "row 2: the box '1, , , ' is not four numbers"),
    ],
)
def test_rows_that_cannot_be_used(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[1] | change]
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, ".jsonl", rows))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Columns(label="model"), "has no column 'model', but 'path', 'label'.*--data.columns.label=NAME"),
        (Columns(group="car"), "has no column 'car'.*--data.columns.group=NAME"),
    ],
)
def test_a_missing_column(columns: Columns, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_table(write(tmp_path, ".csv", ROWS), columns=columns)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"path,label\n1.jpg,a,b\n", "row 1 has another number of cells than the header"),
        ("a.csv", b"path,label\n1.jpg\n", "row 1 has another number of cells than the header"),
        ("a.csv", b"path,label\n", "has no rows"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", "path,label\n\xe9.jpg,a\n".encode("latin-1"), "is not UTF-8"),
        ("a.csv", b'path,label\n"1.jpg,a\n', "cannot be read: unexpected end of data"),
        ("a.jsonl", b'{"path": "1.jpg"', "line 1 is not JSON"),
        ("a.jsonl", b"[1]", "line 1 is not a JSON object"),
        ("a.parquet", b"PAR1 not really", "cannot be read"),
        ("a.xlsx", b"x", r"is not a table: use a file that ends in \.csv, \.parquet"),
    ],
)
def test_tables_that_cannot_be_read(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / name)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the table .*nowhere\.csv cannot be read: No such file"):
        read_table(tmp_path / "nowhere.csv")

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carsfg.data.fetch.parquet import find_parquet, write_class_folders
from carsfg.errors import InputError

CLASSES = ["Ram C/V Cargo Van Minivan 2012", "Acura TL Sedan 2012"]
FEATURES = {"image": {"_type": "Image"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}
CARD = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': Ram C/V Cargo Van Minivan 2012
          '1': Acura TL Sedan 2012
---
# Cars
"""
ROWS = [(b"first", "00009.jpg", 1), (b"second", None, 0), (b"third", "x.PNG", 1)]


def write_table(
    path: Path, rows: Sequence[tuple[Any, str | None, Any]] = ROWS, features: dict[str, Any] | None = FEATURES
) -> Path:
    """Write a table as the library `datasets` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": data, "path": name} for data, name, _ in rows]
    table = pa.table({"image": images, "label": [label for *_, label in rows]})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EXPECTED = {
    "train/Acura TL Sedan 2012/00001.jpg": b"first",
    "train/Ram C-V Cargo Van Minivan 2012/00002.jpg": b"second",
    "train/Acura TL Sedan 2012/00003.png": b"third",
}


def test_class_folders(tmp_path: Path) -> None:
    write_table(tmp_path / "in/data/train-00000-of-00001.parquet")
    write_table(tmp_path / "in/data/contrast-00000-of-00001.parquet")
    files = find_parquet(tmp_path / "in")
    assert [(part, path.name) for part, path in files] == [("train", "train-00000-of-00001.parquet")]
    assert write_class_folders(files, tmp_path / "out") == 3
    assert written(tmp_path / "out") == EXPECTED


def test_numbers_continue_over_the_files_of_a_split(tmp_path: Path) -> None:
    for number in range(2):
        write_table(tmp_path / f"in/train-0000{number}-of-00002.parquet", ROWS[:1])
    write_table(tmp_path / "in/test-00000-of-00001.parquet", ROWS[:1])
    write_class_folders(find_parquet(tmp_path / "in"), tmp_path / "out")
    names = [f"{name}/Acura TL Sedan 2012/{number}.jpg" for name, number in (
        ("test", "00001"), ("train", "00001"), ("train", "00002")
    )]  # fmt: skip
    assert sorted(written(tmp_path / "out")) == names


def test_class_names_of_the_card(tmp_path: Path) -> None:
    write_table(tmp_path / "in/data/train-00000-of-00001.parquet", features=None)
    (tmp_path / "in/README.md").write_text(CARD)
    write_class_folders(find_parquet(tmp_path / "in"), tmp_path / "out")
    assert written(tmp_path / "out") == EXPECTED


def test_labels_that_are_names(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"dtype": "string", "_type": "Value"}}
    write_table(tmp_path / "in/train.parquet", [(b"x", None, "Audi A5")], features)
    write_class_folders(find_parquet(tmp_path / "in"), tmp_path / "out")
    assert written(tmp_path / "out") == {"train/Audi A5/00001.jpg": b"x"}


@pytest.mark.parametrize(
    ("row", "features", "words"),
    [
        ((b"x", None, 2), FEATURES, "has the label 2, but names 2 classes"),
        ((b"x", None, -1), FEATURES, "has the label -1, but names 2 classes"),
        ((None, "cars/1.jpg", 1), FEATURES, "holds paths instead of images"),
        ((b"x", None, 0), {**FEATURES, "label": {"names": [".."], "_type": "ClassLabel"}}, "has the class name '..'"),
        ((b"x", None, 0), None, "has no column of images"),
        ((b"x", None, 0), {"image": {"_type": "Image"}}, "has no column of labels with class names"),
    ],
)
def test_tables_that_cannot_be_used(
    tmp_path: Path, row: tuple[Any, str | None, Any], features: dict[str, Any] | None, words: str
) -> None:
    write_table(tmp_path / "in/train.parquet", [row], features)
    with pytest.raises(InputError, match=words):
        write_class_folders(find_parquet(tmp_path / "in"), tmp_path / "out")
    assert not list(tmp_path.rglob("*.jpg"))


def test_damaged_files(tmp_path: Path) -> None:
    path = write_table(tmp_path / "in/train.parquet", [(bytes(range(256)) * 400, None, 1)] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"train\.parquet is damaged \(.*\): run the command again to download it"):
        write_class_folders(find_parquet(tmp_path / "in"), tmp_path / "out")

"""Galleries as Arrow tables, Parquet files and arrays: the same vectors, paths, classes and attributes."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from carsfg.errors import InputError
from carsfg.search import arrow
from carsfg.search.arrow import EmbeddedTable
from carsfg.search.attributes import Attributes
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import POINTS, gallery

COLUMNS = {"make": ["BMW", "Audi", "BMW", "Alfa Romeo", ""], "year": ["2012", "2012", "2013", "2012", "2012"]}
UNIT = [[0, 1], [1, 0], [0, -1], [1, 0], [0.5**0.5, 0.5**0.5]]
CLOUD = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))


def with_attributes(**kwargs: Any) -> Gallery:
    made = gallery(**kwargs)
    made.attributes = Attributes.of(COLUMNS)
    return made


def test_all_columns_by_hand() -> None:
    table = with_attributes().to_arrow()
    assert table.schema.names == ["path", "label", "make", "year", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    assert table.column("path").to_pylist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert table.column("label").to_pylist() == ["c", "a", "c", "a", "b"]
    assert table.column("make").to_pylist() == ["BMW", "Audi", "BMW", "Alfa Romeo", None]
    assert table.column("embedding").to_pylist() == pytest.approx(np.array(UNIT))
    facts = json.loads(table.schema.metadata[b"carsfg"])
    assert (facts["metric"], facts["exact"], facts["record"]["weights"]) == ("cosine", True, "mine")


def test_what_is_not_known_is_null_or_a_number() -> None:
    table = gallery(paths=(), class_names=()).to_arrow()
    assert table.schema.names == ["path", "label", "embedding"]
    assert table.column("path").to_pylist() == [None] * 5
    assert table.column("label").to_pylist() == ["2", "0", "2", "0", "1"]


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "HNSW8", "IVF4_HNSW8,Flat", "PQ4x4,RFlat"])
def test_indexes_that_keep_vectors_give_them_back(factory: str, tmp_path: Path) -> None:
    Gallery.build(CLOUD, torch.zeros(400, dtype=torch.int64), factory=factory).save(tmp_path / "cars")
    for mmap in (False, True):
        table = EmbeddedTable.of(Gallery.load(tmp_path / "cars", mmap))
        assert table.facts["exact"] is True
        assert torch.equal(table.embeddings, torch.nn.functional.normalize(CLOUD))


@pytest.mark.parametrize("factory", ["PQ8x4", "IVF4,PQ8x4", "SQ8", "IVF4,SQ8", "HNSW8_SQ8", "OPQ8,PQ8x4"])
def test_compressed_ones_are_said_to_be_approximate(factory: str) -> None:
    made = Gallery.build(CLOUD, torch.zeros(400, dtype=torch.int64), factory=factory, metric="euclidean")
    table = EmbeddedTable.of(made)
    assert table.facts["exact"] is False
    assert 0 < float((table.embeddings - CLOUD).abs().max()) < 3


def test_an_index_that_gives_nothing_back() -> None:
    made = Gallery.build(CLOUD, torch.zeros(400, dtype=torch.int64), factory="IVF4,PQ8x4fs")
    with pytest.raises(InputError, match=r"\(IndexIVFPQFastScan\) cannot give its embeddings back: embed the photos"):
        made.to_arrow()


def test_the_origin_of_euclidean_distances_is_added() -> None:
    made = gallery(metric="euclidean")
    assert made.origin is not None
    assert EmbeddedTable.of(made).embeddings.tolist() == POINTS.tolist()


def test_a_parquet_file(tmp_path: Path) -> None:
    with_attributes().save(tmp_path / "cars")
    read = Gallery.load(tmp_path / "cars")
    EmbeddedTable.of(read).write(tmp_path / "e.parquet")
    written, table = parquet.read_table(tmp_path / "e.parquet"), with_attributes().to_arrow()
    assert written.equals(table)
    assert written.schema.metadata == table.schema.metadata
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cars", "e.parquet"]


def test_an_array_with_a_table_beside_it(tmp_path: Path) -> None:
    EmbeddedTable.of(with_attributes()).write(tmp_path / "e.npy")
    array = np.load(tmp_path / "e.npy")
    assert array.dtype == np.float32
    assert array == pytest.approx(np.array(UNIT))
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"path": "0.jpg", "label": "c", "make": "BMW", "year": "2012"}
    assert [row["make"] for row in rows] == COLUMNS["make"]


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_an_error_leaves_the_old_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table beside an array is the last to be written."""
    table = EmbeddedTable.of(with_attributes())
    table.write(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    monkeypatch.setattr(arrow, "write_table", full)
    with pytest.raises(InputError, match=rf"cannot write '.*{name}': No space left on device"):
        EmbeddedTable(table.embeddings * 2, table.paths, table.labels).write(tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_attributes_with_the_names_of_other_columns() -> None:
    made, texts = gallery(), list("vwxyz")
    made.attributes = Attributes.of({"label": texts, "attribute_label": texts[::-1], "embedding": texts, "make": texts})
    table = made.to_arrow()
    assert table.schema.names == [
        "path", "label", "attribute_attribute_label", "attribute_label", "attribute_embedding", "make", "embedding"
    ]  # fmt: skip
    assert table.column("label").to_pylist() == ["c", "a", "c", "a", "b"]
    assert table.column("attribute_attribute_label").to_pylist() == texts
    assert table.column("attribute_label").to_pylist() == texts[::-1]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    table = EmbeddedTable.of(gallery(paths=["a.jpg", "b\udcff.jpg", "c.jpg", "d.jpg", "e.jpg"]))
    with pytest.raises(InputError) as error:
        table.write(tmp_path / "e.parquet")
    assert str(error.value) == (
        r"the path 'b\udcff.jpg' is not UTF-8, which Parquet and Arrow need: rename it, or write a .npy file"
    )
    table.write(tmp_path / "e.npy")
    assert b"b\xff.jpg" in (tmp_path / "e.csv").read_bytes()


def test_other_suffixes_and_a_missing_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"'e.txt' is neither a .parquet nor a .npy file"):
        EmbeddedTable.of(gallery()).write("e.txt")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="need pyarrow: python -m pip install pyarrow, or write"):
        gallery().to_arrow()
    EmbeddedTable.of(gallery()).write(tmp_path / "e.npy")

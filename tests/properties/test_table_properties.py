import csv
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from carsfg.data.sources.table import read_table
from tests.properties.strategies import few

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8)
labels = texts.filter(str.strip)
boxes = st.none() | st.tuples(*(st.integers(0, 50) for _ in range(2)), *(st.integers(51, 99) for _ in range(2)))
rows = st.lists(
    st.tuples(labels, st.sampled_from(["train", "Test", "valid"]), texts, texts, boxes), min_size=1, max_size=6
)


@few
@given(rows)
def test_csv_parquet_and_json_lines_give_the_same_source(drawn: list[tuple[Any, ...]]) -> None:
    columns = ("label", "split", "group", "make, model", "x0", "y0", "x1", "y1")
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "car.png").touch()
        table = [
            {"path": "car.png", **dict(zip(columns, (*row[:4], *(row[4] or [None] * 4)), strict=True))} for row in drawn
        ]
        with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*table[0]])
            writer.writeheader()
            writer.writerows(table)
        parquet.write_table(pa.Table.from_pylist(table), folder / "t.parquet")
        (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
        for kind in ("csv", "parquet", "jsonl"):
            found.append(asdict(read_table(folder / f"t.{kind}")))
    for one in found:
        one["labels"] = one["labels"].tolist()
        one["boxes"] = None if one["boxes"] is None else one["boxes"].tolist()
    assert found[0] == found[1] == found[2]
    assert [found[0]["class_names"][label] for label in found[0]["labels"]] == [row[0].strip() for row in drawn]
    assert (found[0]["boxes"] is None) == all(row[4] is None for row in drawn)
    assert torch.tensor(found[0]["labels"]).max() < len(found[0]["class_names"])

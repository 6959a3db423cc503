"""The page on vector databases: its table of columns is true, and its examples run where their packages are."""

import os
import re
from pathlib import Path

import pytest
import torch

from carsfg.cli import main
from carsfg.search.attributes import Attributes
from carsfg.search.gallery import Gallery

TEXT = (Path(__file__).parents[1] / "docs/vector_databases.md").read_text()
EXAMPLES = {
    name: next(block for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) if name in block)
    for name in ("lancedb", "qdrant_client", "psycopg")
}
POINTS = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embeddings of a gallery whose images 0, 7, 20, 33 and 38 are similar, as the page's commands write them."""
    monkeypatch.chdir(tmp_path)
    points = POINTS.clone()
    for step, place in enumerate((7, 20, 33, 38), 1):
        points[place] = points[0] + step * points[1] / 20
    made = Gallery.build(points, torch.arange(40) % 2, [f"{place}.jpg" for place in range(40)], ["Golf", "Astra"])
    made.attributes = Attributes.of({"make": ["VW", "Opel"] * 20})
    made.save("GALLERY")
    for line in re.findall(r"^carsfg embed GALLERY (--output \S+)", TEXT, re.M):
        assert main(["embed", "GALLERY", *line.split()]) == 0
    return tmp_path / "e.parquet"


def test_the_columns_are_those_of_the_page(file: Path) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    listed = re.findall(r"^\| (\S+|one per attribute) \| (.*?) \|", TEXT, re.M)
    types = {name.strip("`"): kind for name, kind in listed if name != "column"}
    assert types == {
        "path": "string", "label": "string", "one per attribute": "string", "embedding": "fixed-size list of float32"
    }  # fmt: skip
    assert [str(schema.field(name).type) for name in ("path", "label", "make")] == ["string"] * 3
    assert re.fullmatch(r"fixed_size_list<\w+: float>\[16\]", str(schema.field("embedding").type))
    assert Path("e.npy").is_file()
    assert Path("e.csv").read_text().startswith("path,label,make\n")


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("package", EXAMPLES)
def test_an_example_finds_the_nearest(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(package)
    if package == "psycopg" and "DATABASE_URL" not in os.environ:
        pytest.skip("DATABASE_URL names no PostgreSQL")
    capsys.readouterr()
    exec(compile(EXAMPLES[package], package, "exec"), {})  # noqa: S102
    assert re.findall(r"\b(\d+)\.jpg", capsys.readouterr().out) == ["0", "7", "20", "33", "38"]


@pytest.mark.parametrize("package", EXAMPLES)
def test_an_example_is_short(package: str) -> None:
    lines = [line for line in EXAMPLES[package].splitlines() if line and not line.startswith(("import ", "from "))]
    assert len(lines) <= 6
    assert max(map(len, lines)) <= 120

"""The notebooks run from top to bottom, on drawn cars, importing carsfg alone."""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

READ: Any = nbformat.read  # it has no types
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    notebook = READ(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("image/jpeg" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_carsfg_alone(path: Path) -> None:
    source = "\n".join(cell.source for cell in READ(path, as_version=4).cells if cell.cell_type == "code")
    imported = set(re.findall(r"^\s*(?:from|import) ([\w]+)", source, re.M))
    assert imported - sys.stdlib_module_names == {"carsfg"}


def test_there_is_one_a_part() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["1_transfer_learning", "2_image_retrieval", "3_cnn_from_scratch"]

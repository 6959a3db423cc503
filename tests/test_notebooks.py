"""The notebooks run from top to bottom, on few and small drawn cars, importing carsfg alone."""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

READ: Any = nbformat.read  # it has no types
NEW: Any = nbformat.v4
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SMALLER = {r"\bmax_epochs=\d+": "max_epochs=2", r"\btrain=\d+": "train=4", r"\btest=\d+": "test=2"}
SMALLER |= {r"\bimage_size=\d+": "image_size=32", r"\bimage_size: \d+": "image_size: 32"}
BEGIN = """
%reset -f
import os
from carsfg.plots import log_figure
log_figure.SENDERS = {}  # no figures in TensorBoard, which would take half the time
os.makedirs(FOLDER)
os.chdir(FOLDER)
del os, log_figure
"""


def code(path: Path) -> list[str]:
    """The code cells of a notebook."""
    return [cell.source for cell in READ(path, as_version=4).cells if cell.cell_type == "code"]


def make_smaller(source: str) -> tuple[str, int]:
    """Give each number of epochs, images and pixels in a cell a small value; returns how many there were as well."""
    found = 0
    for pattern, value in SMALLER.items():
        source, times = re.subn(pattern, value, source)
        found += times
    return source, found


def test_they_run(tmp_path: Path) -> None:
    """One after another in one process, whose imports take longer than the cells do."""
    together, begins = NEW.new_notebook(), {}
    for path in NOTEBOOKS:
        begins[path.stem] = len(together.cells)
        smaller = [make_smaller(source) for source in code(path)]
        assert sum(found for _, found in smaller) >= 5  # else their cells name the numbers in another way
        sources = [BEGIN.replace("FOLDER", repr(str(tmp_path / path.stem))), *(source for source, _ in smaller)]
        together.cells += [NEW.new_code_cell(source) for source in sources]
    NotebookClient(together, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for begin, end in zip(begins.values(), [*begins.values(), None][1:], strict=True):
        outputs = [output for cell in together.cells[begin:end] for output in cell.outputs]
        assert any("image/jpeg" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_carsfg_alone(path: Path) -> None:
    imported = set(re.findall(r"^\s*(?:from|import) ([\w]+)", "\n".join(code(path)), re.M))
    assert imported - sys.stdlib_module_names == {"carsfg"}


def test_there_is_one_a_part_and_one_for_own_photos() -> None:
    names = ["1_transfer_learning", "2_image_retrieval", "3_cnn_from_scratch", "4_your_own_photos"]
    assert [path.stem for path in NOTEBOOKS] == names

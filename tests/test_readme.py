"""The README's first command, typed as it stands there: the drawn cars are learned from random weights."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_first_command(tmp_path: Path) -> None:
    found = re.search(r"pip install -e \. && (carsfg fit .*)", README.read_text())
    assert found is not None
    words = found[1].split()
    assert shutil.which(words[0], path=str(Path(sys.executable).parent)) is not None
    subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, check=True, timeout=600)
    run = tmp_path / "lightning_logs/tl_exp3/version_0"
    with (run / "metrics.csv").open() as file:
        (top1,) = [float(row["test/top1"]) for row in csv.DictReader(file) if row["test/top1"]]
    assert top1 >= 4 / 12  # four times chance
    assert list(run.glob("checkpoints/*.ckpt"))
    assert list(run.glob("events.out.tfevents.*"))

"""`carsfg search` imports nothing that takes longer than its search."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "lightning",
    "torchmetrics",
    "matplotlib",
    "scipy",
    "pandas",
    "sklearn",
    "tensorboard",
    "gradio",
    "cv2",
    "pyarrow",
)
PROGRAM = f"""
import sys
from carsfg.cli import main

code = main(["search", *sys.argv[1:]])
print(code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--box=auto"], ["--box=none", "--json"]], ids=["auto", "json"])
def test_search_imports_nothing_heavy(words: list[str], gallery: Path, car: Path) -> None:
    given = [sys.executable, "-c", PROGRAM, str(gallery), str(car), "--device=cpu", *words]
    done = subprocess.run(given, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 []"
    assert car.parent.name in done.stdout

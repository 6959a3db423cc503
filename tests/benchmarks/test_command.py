"""Asking for help, against a bare LightningCLI program."""

import subprocess
import sys

import pytest

from tests.benchmarks.conftest import Pair

pytestmark = pytest.mark.measure
BARE = "from lightning.pytorch.cli import LightningCLI; LightningCLI()"


def test_help(pair: Pair) -> None:
    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words, "--help"], capture_output=True, check=True)

    ours, theirs = (lambda: run("-m", "carsfg")), (lambda: run("-c", BARE))
    pair("`carsfg --help`", "a bare LightningCLI program's --help", "4x", ours, theirs)

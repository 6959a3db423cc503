"""The source of the weights of a task, and the versions of the libraries, for run records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision

import carsfg
from carsfg.files import checksum


def weights_of(arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return the source of the weights, and the first 16 digits of its SHA-256 if it is a file.

    Of a file only the name is given, since the names of folders are private; the source of random weights is `random`.

    Args:
        arguments: of a task, by name: `init_from` and `weights`.
    """
    start = arguments.get("init_from") or arguments.get("weights")
    if not start:
        return "random", ""
    file = Path(str(start))
    digest = checksum(file, "sha256")[:16] if file.is_file() else ""
    return str(start).replace("\\", "/").rpartition("/")[2], digest


def library_versions() -> str:
    """Return the versions of carsfg, torch and torchvision in one line."""
    return f"carsfg {carsfg.__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}"

"""Fetching pretrained weights: an end to waiting for a silent server, and no damaged file that is kept."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carsfg.files import checksum

SILENT_SECONDS = 60.0  # after which a server that sends nothing is given up; PyTorch itself would wait forever


@contextmanager
def time_limit() -> Iterator[None]:
    """Give up connections over which nothing has come for a minute, unless the process has a limit of its own.

    The hub of Hugging Face has its own limit, `HF_HUB_DOWNLOAD_TIMEOUT`.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENT_SECONDS if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def delete_damaged(repository: str) -> list[Path]:
    """Delete the files of a repository of the Hugging Face hub whose content is not that of the hub.

    The hub's library compares sizes only. A weights file is stored under its SHA-256; other files, which are small, are
    not looked at.

    Args:
        repository: its name, such as `timm/resnet10t.c3_in1k`; a revision after `@` is ignored.

    Returns:
        The deleted files.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / "--".join(["models", *repository.partition("@")[0].split("/")])
    hashed = [path for path in folder.glob("blobs/*") if re.fullmatch("[0-9a-f]{64}", path.name)]
    damaged = [path for path in hashed if checksum(path, "sha256") != path.name]
    for path in damaged:
        path.unlink()
    return damaged

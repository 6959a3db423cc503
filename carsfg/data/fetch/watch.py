"""Downloads by the libraries of Kaggle and Hugging Face, ended when no byte arrives any more."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from carsfg.data.fetch.hub import TITLES
from carsfg.errors import InputError
from carsfg.progress import stderr_console

LIBRARIES = {"kaggle": "kagglehub", "huggingface": "huggingface_hub"}
OWN_PART = re.compile(r"\.[0-9a-f]{8}\.incomplete$")  # named at random by huggingface_hub, and never continued
POLL_SECONDS = 0.5


def check_library(hub: str) -> None:
    """Check that the library of a hub is installed.

    Args:
        hub: `kaggle` or `huggingface`.

    Raises:
        InputError: it is missing.
    """
    if importlib.util.find_spec(LIBRARIES[hub]) is None:
        raise InputError(f"--source {hub} needs {LIBRARIES[hub]}: python -m pip install -e '.[fetch]'")


def download_from_hub(hub: str, repository: str, folder: Path, timeout: float, progress: bool = True) -> Path:
    """Download a data set in a process of its own, and end it when nothing arrives for `timeout` seconds.

    Args:
        hub: `kaggle` or `huggingface`.
        repository: `OWNER/NAME`.
        folder: directory for the files; what an interrupted download left there is continued.
        timeout: seconds without a byte received.
        progress: show the library's progress bar, if stderr is a terminal.

    Returns:
        The downloaded folder.

    Raises:
        InputError: the data set does not exist, cannot be reached, stalls, or is damaged.
        OSError: the folder cannot be written.
    """
    check_library(hub)
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.rglob("*.incomplete"):
        if OWN_PART.search(part.name):
            part.unlink()
    shown = progress and stderr_console().is_terminal
    words = [sys.executable, "-m", "carsfg.data.fetch.hub", hub, repository, str(folder)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(  # noqa: S603  (no shell, and the words are checked)
            words, stdin=subprocess.PIPE, stdout=out, stderr=None if shown else err, env=_environment(shown)
        )
        try:
            _wait(process, folder, timeout, TITLES[hub])
        finally:
            process.kill()
            process.wait()
        outcome = _outcome(out)
        if outcome is None:
            raise InputError(f"the download from {TITLES[hub]} ended with status {process.returncode}: {_last(err)}")
    if "error" in outcome:
        raise InputError(outcome["error"])
    return Path(outcome["path"])


def _environment(shown: bool) -> dict[str, str]:
    """Return the environment of the process, in which the libraries print nothing but bars."""
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # xet writes in bursts that cannot be told from a stall, and does not retry a broken connection by range
    fixed = {"KAGGLEHUB_VERBOSITY": "error", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **fixed, **({} if shown else quiet)}


def _wait(process: "subprocess.Popen[bytes]", folder: Path, timeout: float, title: str) -> None:
    """Wait for the end of a process while the files in a folder grow."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        now = _bytes_in(folder)
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > timeout:
            raise InputError(f"{title} sent nothing for {timeout:g} s: run the command again to continue")
        time.sleep(min(POLL_SECONDS, timeout / 10))


def _bytes_in(folder: Path) -> int:
    """Return the size of all files below a folder; files that disappear meanwhile count as empty."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(inside, name)).st_size  # noqa: PTH116, PTH118  (thousands of files)
            except OSError:
                continue
    return total


def _outcome(out: IO[str]) -> Mapping[str, str] | None:
    """Return what the process printed last; None if it ended before."""
    try:
        found: Mapping[str, str] = json.loads(_last(out))
    except ValueError:
        return None
    return found


def _last(file: IO[str]) -> str:
    file.seek(0)
    return (file.read().strip().splitlines() or ["no message"])[-1]

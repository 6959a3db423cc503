"""One download by kagglehub or huggingface_hub, as a process of its own: `python -m carsfg.data.fetch.hub`.

A process can be ended when a server stalls: kagglehub waits for an answer without a time limit.
"""

import errno
import json
import os
import re
import signal
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from carsfg.files import remove

PARQUET = re.compile(r"(?:^|/)(train|test)(?:-[^/]*|/[^/]+)?\.parquet$")  # also the layout of refs/convert/parquet
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
DAMAGED_WORDS = ("DataCorruptionError", "Unsupported archive type", "Consistency check failed")
MAX_MESSAGE_CHARACTERS = 200


def download_kaggle(repository: str, folder: Path) -> Path:
    """Download and unpack a data set of Kaggle; a partial archive is continued.

    Args:
        repository: `OWNER/NAME`.
        folder: cache of kagglehub.

    Returns:
        The unpacked folder; outside `folder` on Kaggle's and Colab's own machines, where it must not be changed.
    """
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    import kagglehub

    return Path(kagglehub.dataset_download(repository))


def download_huggingface(repository: str, folder: Path) -> Path:
    """Download the Parquet files of the splits `train` and `test`; complete files are not downloaded again.

    Args:
        repository: `OWNER/NAME`.
        folder: directory that receives the files.

    Raises:
        LookupError: the data set has no such files.
    """
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().dataset_info(repository)
    names = [one.rfilename for one in info.siblings or []]
    wanted = [name for name in names if PARQUET.search(name)]
    if not wanted:
        raise LookupError("it has no Parquet files of the splits train and test")
    for name in [*wanted, *(name for name in names if name == "README.md")]:
        hf_hub_download(repository, name, repo_type="dataset", revision=info.sha, local_dir=folder)
    return folder


DOWNLOADERS: Mapping[str, Callable[[str, Path], Path]] = {
    "kaggle": download_kaggle,
    "huggingface": download_huggingface,
}
TITLES = {"kaggle": "Kaggle", "huggingface": "Hugging Face"}
TOKENS = {
    "kaggle": "set KAGGLE_API_TOKEN to a token of kaggle.com/settings",
    "huggingface": "set HF_TOKEN to a token of huggingface.co/settings/tokens",
}


def describe(error: BaseException, hub: str, repository: str, folder: Path) -> str:
    """Return one sentence about a failed download, with what to do.

    Args:
        error: exception of the library.
        hub: `kaggle` or `huggingface`.
        repository: `OWNER/NAME`.
        folder: where the files were written to.
    """
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno in DISK_ERRORS:
            return f"cannot write to {folder}: {one.strerror}"
        if type(one) is LookupError:
            return f"{TITLES[hub]}'s {repository!r} cannot be used: {one}"
        if said := _describe_status(one, hub, repository):
            return said
    if is_damaged(error):
        return f"{TITLES[hub]} sent a damaged {repository!r}: run the command again to download it once more"
    *_, first_cause = _causes(error)
    first = str(first_cause).split("\n")[0][:MAX_MESSAGE_CHARACTERS].rstrip(".: ") or type(first_cause).__name__
    return f"the download of {repository!r} from {TITLES[hub]} broke off ({first}): run the command again to continue"


def _describe_status(error: BaseException, hub: str, repository: str) -> str:
    """Return one sentence about the HTTP status of a server's answer; empty without one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 404 or type(error).__name__ == "RepositoryNotFoundError":
        return f"{TITLES[hub]} has no public data set {repository!r}: check its name; if it is private, {TOKENS[hub]}"
    if status in (401, 403):
        return f"{TITLES[hub]} refuses {repository!r} ({status}): accept its terms on its page, and {TOKENS[hub]}"
    if status and status >= 400:
        return f"{TITLES[hub]} answered with status {status} for {repository!r}: run the command again later"
    return ""


def is_damaged(error: BaseException) -> bool:
    """Return whether files are damaged, so that the download must start anew.

    Args:
        error: exception of the library.
    """
    return isinstance(error, DAMAGED) or any(
        word in f"{type(error).__name__} {error}" and "Connection" not in type(error).__name__ for word in DAMAGED_WORDS
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, which closes the standard input."""
    sys.stdin.buffer.read()
    os._exit(1)


def main(words: Sequence[str]) -> int:
    """Download one data set, and print the outcome as the last line: JSON with `path` or `error`.

    Args:
        words: hub, `OWNER/NAME` and folder.
    """
    hub, repository, place = words
    folder = Path(place)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        outcome = {"path": str(DOWNLOADERS[hub](repository, folder))}
    except Exception as error:  # every kind that two libraries raise becomes one sentence
        outcome = {"error": describe(error, hub, repository, folder)}
        if is_damaged(error):
            remove(folder)
    print(f"\n{json.dumps(outcome)}", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

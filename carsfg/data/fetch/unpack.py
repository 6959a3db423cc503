"""Unpack archives, with no member outside the folder."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any

from carsfg.errors import InputError

# errors of the standard library for damaged, cut-off or encrypted archives
ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError)


def unpack(file: Path, folder: Path) -> None:
    """Unpack an archive into a folder; an annotation file is copied there.

    Args:
        file: a zip, a tar (compressed or not) or a `.mat` file.
        folder: directory that receives the unpacked files.

    Raises:
        InputError: the archive is damaged, of another kind, or has members outside the folder.
        OSError: the file cannot be read, or the folder cannot be written.
    """
    try:
        if file.suffix == ".mat":
            shutil.copy(file, folder)
        elif zipfile.is_zipfile(file):
            _unzip(file, folder)
        elif tarfile.is_tarfile(file):
            _untar(file, folder)
        else:
            raise InputError(f"{file} is not a zip, tar or mat file: give one of these")
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{file} is damaged ({error}): download it again") from error


def _unzip(file: Path, folder: Path) -> None:
    """Unpack a zip with no member outside the folder."""
    with zipfile.ZipFile(file) as archive:
        _check_names(file, archive.namelist())
        archive.extractall(folder)  # noqa: S202  (the names were checked)


def _untar(file: Path, folder: Path) -> None:
    """Unpack the regular files of a tar with no member outside the folder; links and devices are left out."""
    with tarfile.open(file) as archive:
        plain = [member for member in archive if member.isreg()]
        _check_names(file, [member.name for member in plain])
        options: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4
        archive.extractall(folder, plain, **options)  # noqa: S202  (the names were checked)


def _check_names(file: Path, names: Sequence[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{file} is unsafe and was not unpacked ({name!r} is outside the folder)")

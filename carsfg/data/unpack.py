"""Unpack archives of Stanford Cars, in any of the layouts they come in, into the one that is read."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any

from carsfg.errors import InputError

# what the standard library raises for damaged, cut-off or encrypted archives
ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError)
PLACES = {  # where each annotation file belongs
    "cars_meta.mat": "devkit",
    "cars_train_annos.mat": "devkit",
    "cars_test_annos.mat": "devkit",
    "cars_test_annos_withlabels.mat": ".",
}
IMAGE_FOLDERS = ("cars_train", "cars_test")
IMAGE_SUFFIXES = (".jpg", ".jpeg")


def unpack(file: Path, folder: Path) -> None:
    """Unpack an archive into a folder; an annotation file is just copied there.

    Args:
        file: a zip, a tar (compressed or not) or a `.mat` file.
        folder: must exist.

    Raises:
        InputError: the archive is damaged, of another kind, or wants to write outside the folder.
        OSError: the folder cannot be written.
    """
    try:
        if file.suffix == ".mat":
            shutil.copy(file, folder)
        elif zipfile.is_zipfile(file):
            _unzip(file, folder)
        elif tarfile.is_tarfile(file):
            _untar(file, folder)
        else:
            raise InputError(f"{file} is no zip, tar or mat file.")
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{file} is damaged ({error}): fetch it again.") from error


def _unzip(file: Path, folder: Path) -> None:
    """Unpack a zip whose names all stay inside the folder."""
    with zipfile.ZipFile(file) as archive:
        _check_names(file, archive.namelist())
        archive.extractall(folder)  # noqa: S202  (the names were checked)


def _untar(file: Path, folder: Path) -> None:
    """Unpack the plain files of a tar whose names all stay inside the folder: no links, no devices."""
    with tarfile.open(file) as archive:
        plain = [member for member in archive if member.isreg()]
        _check_names(file, [member.name for member in plain])
        options: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 brought it
        archive.extractall(folder, plain, **options)  # noqa: S202  (the names were checked)


def _check_names(file: Path, names: Sequence[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{file} is unsafe and was not unpacked ({name!r} lies outside).")


def lay_out(unpacked: Path, folder: Path) -> dict[str, int]:
    """Move what belongs to the data set to its place; everything else is left.

    Images are known by the folder they lie in, `cars_train` or `cars_test`, however deep, and annotation
    files by their names.

    Args:
        unpacked: the folder with the contents of an archive, on the same file system.
        folder: the `stanford_cars` folder; files that are there already are replaced.

    Returns:
        How many files went into each folder.

    Raises:
        OSError: the folder cannot be written.
    """
    laid: dict[str, int] = {}
    for file in sorted(path for path in unpacked.rglob("*") if path.is_file() and not path.is_symlink()):
        if place := _place(file):
            (folder / place).mkdir(exist_ok=True)
            file.replace(folder / place / file.name)
            laid[place] = laid.get(place, 0) + 1
    return laid


def _place(file: Path) -> str | None:
    """Tell which folder a file belongs to, if any."""
    if file.suffix.lower() in IMAGE_SUFFIXES and file.parent.name in IMAGE_FOLDERS:
        return file.parent.name
    return PLACES.get(file.name)

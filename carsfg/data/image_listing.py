"""The image files below a folder, and counts of everything that is skipped."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from carsfg.data.image_io import READS_AVIF
from carsfg.errors import InputError

SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")
SUFFIXES += (".avif",) if READS_AVIF else ()
# folders that file servers and operating systems add; the thumbnails in them would be classes of their own
SYSTEM_FOLDERS = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")

CACHE_FOLDER = ".carsfg-cache"  # decoded images, which carsfg itself puts beside photos


@dataclass
class Listing:
    """What was found below a folder.

    Attributes:
        paths: the image files, sorted.
        skipped: how many entries were not taken, by their kind, such as `.heic` or `hidden`.
        unreadable: folders that cannot be read, with the reason.
    """

    paths: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    @property
    def left_out(self) -> str:
        """One line such as `left out: 2 hidden, 8 .heic; cannot read cars/Audi (Permission denied)`, or nothing."""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
        parts = [*([counts] if counts else []), *self.unreadable]
        return f"left out: {'; '.join(parts)}" if parts else ""


def list_images(folder: str | Path) -> Listing:
    """List all image files below a folder, at any depth; links to files and folders are followed.

    A file counts as an image by its suffix, upper or lower case. Hidden entries, folders of the system, links that lead
    nowhere or back to a folder above them, and all other files are left out and counted.

    Args:
        folder: where to look.

    Raises:
        InputError: the folder itself cannot be read.
    """
    found = Listing()
    folder = Path(folder)
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from error
    _walk(folder, found, ())
    found.paths.sort()
    return found


def _walk(folder: Path, found: Listing, above: tuple[tuple[int, int], ...]) -> None:
    """Add the contents of a folder.

    Args:
        folder: directory to list, with its sub-directories.
        found: listing that receives images and counts.
        above: device and inode of all folders above this one: a link to one of them would have no end.
    """
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            found.skipped["links to a folder above them"] += 1
            return
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable.append(f"cannot read {folder} ({error.strerror})")
        return
    for entry in inside:
        path = folder / entry.name
        if entry.name == CACHE_FOLDER:
            continue
        if kind := _kind_left_out(entry):
            found.skipped[kind] += 1
        elif entry.is_dir():
            _walk(path, found, (*above, here))
        else:
            found.paths.append(path)


def _kind_left_out(entry: os.DirEntry[str]) -> str | None:
    """Return the kind of an entry that is not taken; None for folders and image files."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name in SYSTEM_FOLDERS:
        return entry.name
    try:
        if entry.is_dir():
            return None
        is_file = entry.is_file()
    except OSError:
        is_file = False
    if not is_file:
        return "links to nothing" if entry.is_symlink() else "devices"
    suffix = Path(entry.name).suffix.lower()
    return None if suffix in SUFFIXES else suffix or "without suffix"

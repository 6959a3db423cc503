"""Bring the files of any known layout of Stanford Cars to their places."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from carsfg.data.fetch.catalogue import CLASSES_FOLDER, OFFICIAL_FOLDER
from carsfg.data.fetch.parquet import find_parquet, write_class_folders
from carsfg.data.image_listing import SUFFIXES
from carsfg.data.sources.annotations import other_layout
from carsfg.data.sources.kaggle_cars import MIRROR_FILES, is_kaggle_cars
from carsfg.errors import InputError
from carsfg.files import UNFINISHED, remove
from carsfg.progress import track

ANNOTATION_FOLDERS = {  # folder of each annotation file
    "cars_meta.mat": "devkit",
    "cars_train_annos.mat": "devkit",
    "cars_test_annos.mat": "devkit",
    "cars_test_annos_withlabels.mat": ".",
}
IMAGE_FOLDERS = ("cars_train", "cars_test")
OFFICIAL_SUFFIXES = (".jpg", ".jpeg")
NUMBERED = re.compile(r" ?\(\d+\)(?=\.[^.]+$)")  # a browser's ` (1)` before the suffix
SEARCHED_LEVELS = 4  # folders that archives put around `train` and `test`


@dataclass(frozen=True)
class Laid:
    """What was brought to its place.

    Attributes:
        folder: `stanford_cars` or `stanford_cars_by_class`, below the data folder.
        counts: number of files brought to each part of the folder, such as `cars_train`.
    """

    folder: Path
    counts: dict[str, int]


def lay_out(unpacked: Path, root: Path, keep: bool, progress: bool = True) -> Laid | None:
    """Bring files to `root/stanford_cars`, or class folders to `root/stanford_cars_by_class`; all other files stay.

    Official images are recognised by their folder, `cars_train` or `cars_test`, at any depth, and annotation files by
    their names, also with ` (1)` at the end. Class folders are recognised by `train` and `test` around them, Parquet
    files by these splits in their names.

    Args:
        unpacked: folder with files in one of the layouts.
        root: data folder; existing files are replaced, existing class folders as a whole.
        keep: copy the files; otherwise they get a second name where the file system can do it.
        progress: show a progress bar.

    Returns:
        What was laid out; None if nothing is recognised.

    Raises:
        InputError: the files are Stanford Cars in a layout that is not read, or a Parquet file is damaged.
        OSError: a file cannot be read, or the folder cannot be written.
    """
    if official := [(file, place) for file in _files(unpacked) if (place := _place(file))]:
        return _lay_official(official, root / OFFICIAL_FOLDER, keep, progress)
    target = root / CLASSES_FOLDER
    if folder := find_class_folders(unpacked):
        files = [file for file in _files(folder) if file.suffix.lower() in SUFFIXES or file.name in MIRROR_FILES]
        return _swap_in(target, lambda new: _lay_classes(files, folder, new, keep, progress))
    if tables := find_parquet(unpacked):
        return _swap_in(target, lambda new: write_class_folders(tables, new, progress))
    if other := other_layout(path.name for path in sorted(unpacked.rglob("*"))):
        raise InputError(f"{unpacked.name} holds Stanford Cars as {other}, which is not read: use another source")
    return None


def find_class_folders(folder: Path) -> Path | None:
    """Return the folder that holds Kaggle's CSV files of boxes, or else the folders `train` and `test` of classes.

    Args:
        folder: where to look, a few levels deep.
    """
    levels = [[folder]]
    for _ in range(SEARCHED_LEVELS):
        levels.append([path for above in levels[-1] for path in sorted(above.iterdir()) if path.is_dir()])
    candidates = [path for level in levels for path in level]
    return next(filter(is_kaggle_cars, candidates), None) or next(filter(_has_splits, candidates), None)


def _has_splits(folder: Path) -> bool:
    """Return whether folders `train` and `test` hold folders with images."""
    return all(
        any(path.suffix.lower() in SUFFIXES for path in (folder / part).glob("*/*")) for part in ("train", "test")
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))


def _place(file: Path) -> str | None:
    """Return the folder of the official layout that a file belongs to, if any."""
    if file.suffix.lower() in OFFICIAL_SUFFIXES and file.parent.name in IMAGE_FOLDERS:
        return file.parent.name
    return ANNOTATION_FOLDERS.get(plain_name(file))


def plain_name(file: Path) -> str:
    """Return the name of a file without the ` (1)` that browsers add.

    Args:
        file: path whose last part counts.
    """
    return NUMBERED.sub("", file.name)


def _lay_official(official: list[tuple[Path, str]], folder: Path, keep: bool, progress: bool) -> Laid:
    counts: dict[str, int] = {}
    for file, place in track(official, "moving files", progress):
        _bring(file, folder / place / plain_name(file), keep)
        counts[place] = counts.get(place, 0) + 1
    return Laid(folder, counts)


def _lay_classes(files: Iterable[Path], folder: Path, target: Path, keep: bool, progress: bool) -> None:
    for file in track(files, "moving files", progress):
        _bring(file, target / file.relative_to(folder), keep)


def _swap_in(target: Path, fill: Callable[[Path], object]) -> Laid:
    """Fill a folder beside `target`, and put it in its place."""
    new = target.with_name(f"{UNFINISHED}{target.name}")
    remove(new)
    try:
        fill(new)
        remove(target)
        new.replace(target)
    finally:
        remove(new)
    return Laid(target, {".": sum(file.suffix.lower() in SUFFIXES for file in _files(target))})


def _bring(file: Path, target: Path, keep: bool) -> None:
    """Give a file a second name, or copy it beside its place and rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not keep:
        try:
            target.unlink(missing_ok=True)
            os.link(file, target)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    beside = target.with_name(f"{UNFINISHED}{target.name}")
    try:
        shutil.copyfile(file, beside)
        beside.replace(target)
    finally:
        remove(beside)

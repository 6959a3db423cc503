"""`carsfg data fetch`: list the sources of Stanford Cars, or get it from one of them and check it."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.data_check import CropOptions, check_photo_source, check_stanford_cars
from carsfg.commands.options import option, parse, positional
from carsfg.errors import InputError, suggestion

if TYPE_CHECKING:
    from carsfg.data.fetch.catalogue import SourceName

SOURCE_NAMES: "tuple[SourceName, ...]" = ("kaggle", "huggingface", "url", "folder")


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Get Stanford Cars from a source, lay it out and check it; without a source, list them.

    Attributes:
        root: folder to put `stanford_cars/` into.
        source: kind of source, and what to take from it.
        sha256: expected SHA-256 of each address or file, as hexadecimal digits.
        timeout: seconds without a byte after which a download ends.
        data: how images are cut by the check.
    """

    root: str = positional("folder to put stanford_cars/ into", "data")
    source: tuple[str, ...] = option(
        "kaggle or huggingface, with data sets OWNER/NAME if not the default ones; url with addresses; folder with "
        "paths of archives or folders",
        (),
        nargs="+",
        metavar=("SOURCE", "NAME"),
    )
    sha256: tuple[str, ...] = option("SHA-256 of each address or file, in their order; may be given several times", ())
    timeout: float = option("seconds without a byte received after which a download ends", 60.0)
    data: CropOptions = field(default_factory=CropOptions)


def fetch_verb(args: Sequence[str]) -> int:
    """Run `carsfg data fetch`.

    Args:
        args: the words after `carsfg data fetch`.

    Returns:
        0 if the data is complete and usable, or sources are listed; 2 if images are unreadable or missing.

    Raises:
        InputError: the arguments are wrong, a source fails, or parts of the data are still missing.
    """
    options = parse("data fetch", FetchOptions, args)
    from carsfg.data.fetch.catalogue import CLASSES_FOLDER, SOURCES

    if not options.source:
        if options.sha256:
            raise InputError("--sha256 needs --source url or folder")
        by_class = shlex.quote(str(Path(options.root) / CLASSES_FOLDER))
        print(SOURCES.format(root=options.root, by_class=by_class))  # noqa: T201
        return 0
    word, *names = options.source
    source = next((name for name in SOURCE_NAMES if name == word), None)
    if source is None:
        known = ", ".join(SOURCE_NAMES)
        raise InputError(f"unknown source {word!r}{suggestion(word, SOURCE_NAMES)}: give one of {known}")
    from carsfg.data.fetch.fetch import fetch

    folders: dict[Path, None] = {}  # in order, each once
    for laid in fetch(options.root, source, names, options.sha256, options.timeout):
        for part, count in laid.counts.items():
            print(f"{laid.folder / part}: {count:,} files")  # noqa: T201
        folders[laid.folder] = None
    return max(_check(Path(options.root), folder, options.data.crop) for folder in folders)


def _check(root: Path, folder: Path, crop: bool) -> int:
    """Check what was laid out, and say what it lacks."""
    from carsfg.data.fetch.catalogue import OFFICIAL_FOLDER, describe_counts, describe_missing, missing_parts

    if folder.name != OFFICIAL_FOLDER:
        return _check_classes(root, folder, crop)
    if missing := missing_parts(root):
        raise InputError(describe_missing(root, missing))
    found = check_stanford_cars(str(root), crop)
    wrong = describe_counts(found.train.images, found.test.images, found.classes)
    return _end(wrong, bool(found.unreadable))


def _check_classes(root: Path, folder: Path, crop: bool) -> int:
    """Check class folders, and say how they are used."""
    from carsfg.data.fetch.catalogue import describe_counts, describe_lacks
    from carsfg.data.sources.any_source import read_photos

    source = read_photos(folder)
    found = check_photo_source(source, crop)
    # byte-identical files of Stanford's own splits, which `fit` otherwise refuses
    leaks = " --data.allow_leaks=true" if found.across else ""
    for line in (
        describe_lacks(root, source),
        f"to use these class folders: --data=PhotoDataModule --data.root={shlex.quote(str(folder))}{leaks}",
    ):
        if line:
            print(line)  # noqa: T201
    wrong = describe_counts(found.parts.get("train", 0), found.parts.get("test", 0), len(found.class_sizes))
    return _end(wrong, bool(found.unreadable))


def _end(wrong: str, unreadable: bool) -> int:
    """Print what is wrong with the counts, and return the exit code."""
    if wrong:
        print(f"carsfg: {wrong}", file=sys.stderr)  # noqa: T201
    return 2 if wrong or unreadable else 0

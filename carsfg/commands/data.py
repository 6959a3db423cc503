"""`carsfg data`: check a data folder, draw cars, or get Stanford Cars."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.options import option, parse, positional
from carsfg.commands.outputs import check_picture
from carsfg.commands.photo_options import PhotoForm
from carsfg.errors import InputError, suggestion

if TYPE_CHECKING:
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.integrity import DataCheck
    from carsfg.data.sources.source import ImageSource

ROOT = "data"
USAGE = """usage: carsfg data VERB ...

  check     count, decode and compare all images of a data folder
  draw      draw cars in the layout of Stanford Cars
  fetch     say where to get Stanford Cars, or lay out its archives

  carsfg data VERB --help    the arguments of a verb
"""


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """How images are cut.

    Attributes:
        crop: cut each image to its annotated box.
    """

    crop: bool = option("cut each image to its annotated box; false for images that are box crops already", True)


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(CropOptions, PhotoForm):
    """How photos of one's own are read and cut."""

    def read(self, root: str) -> "ImageSource | None":
        """Read class folders or a table; None if `root` is Stanford Cars, or nothing that is known.

        Args:
            root: folder or table.

        Raises:
            InputError: they cannot be read, or a column has no such meaning.
        """
        from carsfg.data.sources.annotations import find_folder, holds_photos
        from carsfg.data.sources.any_source import read_photos
        from carsfg.data.sources.kaggle_cars import is_kaggle_cars

        try:
            find_folder(root)
        except InputError:
            if holds_photos(Path(root)) or is_kaggle_cars(Path(root)):
                return read_photos(root, self.images, self.table_columns(), self.class_level)
        return None


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Count, decode and compare all images of Stanford Cars, of class folders, or of a table.

    Attributes:
        root: folder that contains `stanford_cars/` or class folders, or a table.
        data: how images are read and cut.
        sheet: picture to write.
    """

    root: str = positional("folder that contains stanford_cars/ or class folders, or a table", ROOT)
    data: PhotoOptions = field(default_factory=PhotoOptions)
    sheet: str | None = option("also draw some training images into this file, such as sheet.png", None)


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Draw cars in the layout of Stanford Cars.

    Attributes:
        folder: where to put `stanford_cars/`.
        classes: number of car models to draw, 2 to 196.
        train: training images per class.
        test: test images per class.
        seed: number that decides pose, colour and background of each drawn car.
        sheet: picture to write.
    """

    folder: str = positional("folder to put stanford_cars/ into")
    classes: int = option("number of classes, 2 to 196", 12)
    train: int = option("training images per class", 60)
    test: int = option("test images per class", 20)
    seed: int = option("another seed draws other cars", 0)
    sheet: str | None = option("also draw some training images into this file, such as sheet.png", None)


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Say where to get Stanford Cars, or lay out its archives and check them.

    Attributes:
        root: folder to put `stanford_cars/` into.
        url: addresses or files.
        sha256: expected SHA-256 of each archive, as hexadecimal digits.
        data: how images are cut by the check.
    """

    root: str = positional("folder to put stanford_cars/ into", ROOT)
    url: tuple[str, ...] = option("address or file of a zip, tar or mat file; may be given several times", ())
    sha256: tuple[str, ...] = option("SHA-256 of each --url, in their order", ())
    data: CropOptions = field(default_factory=CropOptions)


def main(args: Sequence[str]) -> int:
    """Run `carsfg data`.

    Args:
        args: the words after `carsfg data`.

    Returns:
        0 if the data is usable, 2 if images are unreadable.

    Raises:
        InputError: the arguments are wrong, or the data cannot be used.
    """
    verbs: Mapping[str, Callable[[Sequence[str]], int]] = {"check": _check_verb, "draw": _draw, "fetch": _fetch}
    if args and args[0] in {"-h", "--help"}:
        print(USAGE, end="")  # noqa: T201
        return 0
    if not args or args[0] not in verbs:
        wrong = f"unknown verb {args[0]!r}{suggestion(args[0], verbs)}" if args else "a verb is missing"
        raise InputError(f"{wrong}; see `carsfg data --help`")
    return verbs[args[0]](args[1:])


def _check_verb(args: Sequence[str]) -> int:
    options = parse("data check", CheckOptions, args)
    if options.sheet:
        check_picture(options.sheet)
    source = options.data.read(options.root)
    if source is not None:
        return _check_photos(source, options.data.crop, options.sheet)
    return _check(options.root, options.data.crop, options.sheet)


def _check_photos(source: "ImageSource", crop: bool, sheet: str | None) -> int:
    """Check photos of one's own, print their counts, and save a picture of some of them."""
    from carsfg.commands.photo_check import print_photo_check
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.photo_check import check_photos

    found = check_photos(source, crop)
    print_photo_check(found)
    for sentence in found.unreadable:
        print(f"carsfg: {sentence}", file=sys.stderr)  # noqa: T201
    if found.unreadable:
        return 2
    _write_sheet(CroppedImages(source, "photos", crop), sheet)
    return 0


def _check(root: str, crop: bool, sheet: str | None = None) -> int:
    """Check a folder, print its counts, and draw some of its images."""
    from carsfg.data.integrity import check
    from carsfg.data.stanford_cars_dataset import StanfordCars

    report = check(root, crop)
    _print(report)
    for sentence in report.unreadable:
        print(f"carsfg: {sentence}", file=sys.stderr)  # noqa: T201
    if report.unreadable:
        return 2
    _write_sheet(StanfordCars(root, "train", crop), sheet)
    return 0


def _draw(args: Sequence[str]) -> int:
    options = parse("data draw", DrawOptions, args)
    if options.sheet:
        check_picture(options.sheet)
    from carsfg.synthetic.dataset import DrawnCars, draw_cars

    spec = DrawnCars(classes=options.classes, train=options.train, test=options.test, seed=options.seed)
    print(f"drawn: {draw_cars(options.folder, spec)}")  # noqa: T201
    if options.sheet:
        from carsfg.data.stanford_cars_dataset import StanfordCars

        _write_sheet(StanfordCars(options.folder, "train"), options.sheet)
    return 0


def _write_sheet(images: "CroppedImages", file: str | None) -> None:
    """Write a contact sheet of images, if a file is named."""
    if file is None:
        return
    from carsfg.plots.contact_sheet import contact_sheet

    try:
        contact_sheet(images).savefig(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {file!r}: {getattr(error, 'strerror', None) or error}") from error
    print(f"sheet: {file}")  # noqa: T201


def _fetch(args: Sequence[str]) -> int:
    """Lay out the files that the user names and check them; without any, say where to get the data."""
    options = parse("data fetch", FetchOptions, args)
    from carsfg.data.download import SOURCES, fetch

    if not options.url:
        print(SOURCES.format(root=options.root, quoted=shlex.quote(options.root)))  # noqa: T201
        return 0
    for part, count in fetch(options.root, options.url, options.sha256).items():
        print(f"{options.root}/stanford_cars/{part}: {count:,} files")  # noqa: T201
    return _check(options.root, options.data.crop)


def _print(report: "DataCheck") -> None:
    """Print a report as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "train", "test", title=escape(str(report.folder)), title_justify="left")
    for title, name in (
        ("images", "images"),
        ("fewest per class", "fewest"),
        ("most per class", "most"),
        ("single-channel", "single_channel"),
    ):
        table.add_row(title, *(f"{getattr(split, name):,}" for split in (report.train, report.test)))
    table.add_row("unreadable", *(f"{len(split.unreadable):,}" for split in (report.train, report.test)))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{report.classes} class names")
    console.print(f"{report.train.single_channel + report.test.single_channel} single-channel images")
    console.print(f"{report.identical} pairs of duplicates (byte-identical files)")
    console.print(f"  {report.conflicting} of them with conflicting labels")
    console.print(f"  {report.across} of them across train and test")

"""The checks of data folders that `carsfg data check` and `carsfg data fetch` run, and what they print."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carsfg.commands.options import option
from carsfg.errors import InputError
from carsfg.files import replacing

if TYPE_CHECKING:
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.integrity import DataCheck
    from carsfg.data.photo_check import PhotoCheck
    from carsfg.data.sources.source import ImageSource


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """How images are cut.

    Attributes:
        crop: cut each image to its annotated box.
    """

    crop: bool = option("cut each image to its annotated box; false for images that are box crops already", True)


def check_photo_source(source: "ImageSource", crop: bool, sheet: str | None = None) -> "PhotoCheck":
    """Check photos of one's own, print their counts, and save a picture of some of them.

    Args:
        source: the images, with their classes and boxes.
        crop: cut each image to its box.
        sheet: picture to write if all images are readable.

    Returns:
        The result; unreadable images are named on stderr.

    Raises:
        InputError: images or boxes cannot be used, or the picture cannot be written.
    """
    from carsfg.commands.photo_check import print_photo_check
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.photo_check import check_photos

    found = check_photos(source, crop)
    print_photo_check(found)
    _name_unreadable(found.unreadable)
    if not found.unreadable:
        write_sheet(CroppedImages(source, "photos", crop), sheet)
    return found


def check_stanford_cars(root: str, crop: bool, sheet: str | None = None) -> "DataCheck":
    """Check Stanford Cars, print its counts, and save a picture of some training images.

    Args:
        root: folder that contains `stanford_cars/`.
        crop: cut each image to its box.
        sheet: picture to write if all images are readable.

    Returns:
        The result; unreadable images are named on stderr.

    Raises:
        InputError: images or annotations are missing, or the picture cannot be written.
    """
    from carsfg.data.integrity import check
    from carsfg.data.stanford_cars_dataset import StanfordCars

    found = check(root, crop)
    _print(found)
    _name_unreadable(found.unreadable)
    if not found.unreadable:
        write_sheet(StanfordCars(root, "train", crop), sheet)
    return found


def _name_unreadable(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"carsfg: {sentence}", file=sys.stderr)  # noqa: T201


def write_sheet(images: "CroppedImages", file: str | None) -> None:
    """Write a contact sheet of images, if a file is named.

    Args:
        images: data set that a sample is taken from.
        file: picture to write, if any.

    Raises:
        InputError: the file cannot be written.
    """
    if file is None:
        return
    from carsfg.plots.contact_sheet import contact_sheet

    try:
        with replacing(file) as beside:
            contact_sheet(images).savefig(beside)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {file!r}: {getattr(error, 'strerror', None) or error}") from error
    print(f"sheet: {file}")  # noqa: T201


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

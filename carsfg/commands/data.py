"""`carsfg data`: check a data folder, draw cars, or get Stanford Cars."""

import argparse
import sys
from typing import TYPE_CHECKING

from carsfg.commands.parsing import OneLineParser

if TYPE_CHECKING:
    from carsfg.data.integrity import Report

ROOT = "data"


def main(args: list[str]) -> int:
    """Run `carsfg data ARGS`.

    Args:
        args: the words after `carsfg data`.

    Returns:
        0 when the data is usable (or help was asked for), 2 when images are unreadable.

    Raises:
        InputError: the arguments are wrong, or the data cannot be used.
    """
    try:
        options = _parser().parse_args(args)
        if options.verb == "check":
            return _check(options.root, options.crop, options.sheet)
        if options.verb == "draw":
            return _draw(options)
        return _fetch(options)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="carsfg data", description="Check, draw or get the data.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{check,draw,fetch}")
    check = verbs.add_parser("check", help="count, decode and compare all images of a data folder")
    draw = verbs.add_parser("draw", help="draw cars in the layout of Stanford Cars")
    fetch = verbs.add_parser("fetch", help="say where Stanford Cars is found, or lay out archives of it")
    for verb in (check, fetch):
        verb.add_argument("root", nargs="?", default=ROOT, help="folder of stanford_cars/ (default: %(default)s)")
        verb.add_argument(
            "--no-crop",
            dest="crop",
            action="store_false",
            help="images are crops already (`data.crop: false`)",
        )
    fetch.add_argument("--url", action="append", default=[], help="address or file: zip, tar or mat; repeatable")
    fetch.add_argument("--sha256", action="append", default=[], help="digest of each --url, in their order")
    for verb in (check, draw):
        verb.add_argument("--sheet", help="also write a picture of some training images to this file")
    draw.add_argument("dir", help="where to put stanford_cars/")
    draw.add_argument("--classes", type=int, default=12, help="default: %(default)s")
    draw.add_argument("--train", type=int, default=60, help="training images a class (default: %(default)s)")
    draw.add_argument("--test", type=int, default=20, help="test images a class (default: %(default)s)")
    draw.add_argument("--seed", type=int, default=0, help="another seed draws other cars (default: %(default)s)")
    return parser


def _check(root: str, crop: bool, sheet: str | None = None) -> int:
    """Check a folder, print what is in it, and show some of it in a picture."""
    from carsfg.data.integrity import check

    report = check(root, crop)
    _print(report)
    for sentence in report.unreadable:
        print(f"carsfg: {sentence}", file=sys.stderr)  # noqa: T201
    if report.unreadable:
        return 2
    _write_sheet(root, crop, sheet)
    return 0


def _draw(options: argparse.Namespace) -> int:
    """Draw cars."""
    from carsfg.synthetic.dataset import DrawnCars, draw_cars

    spec = DrawnCars(classes=options.classes, train=options.train, test=options.test, seed=options.seed)
    print(f"drawn: {draw_cars(options.dir, spec)}")  # noqa: T201
    _write_sheet(options.dir, True, options.sheet)
    return 0


def _write_sheet(root: str, crop: bool, file: str | None) -> None:
    """Write a contact sheet of the training images, if a file is named."""
    if file is None:
        return
    from carsfg.data.sources.stanford_cars import StanfordCars
    from carsfg.errors import InputError
    from carsfg.plots.contact_sheet import contact_sheet

    try:
        contact_sheet(StanfordCars(root, "train", crop)).savefig(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {file}: {error}") from error
    print(f"sheet: {file}")  # noqa: T201


def _fetch(options: argparse.Namespace) -> int:
    """Lay out what the user points at and check it; without anything, say where the data is found."""
    from carsfg.data.download import SOURCES, fetch

    if not options.url:
        print(SOURCES.format(root=options.root))  # noqa: T201
        return 0
    for part, count in fetch(options.root, options.url, options.sha256).items():
        print(f"{options.root}/stanford_cars/{part}: {count:,} files")  # noqa: T201
    return _check(options.root, options.crop)


def _print(report: "Report") -> None:
    """Print a report as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "train", "test", title=escape(str(report.folder)), title_justify="left")
    for title, name in (
        ("images", "images"),
        ("fewest in a class", "fewest"),
        ("most in a class", "most"),
        ("single-channel", "single_channel"),
    ):
        table.add_row(title, *(f"{getattr(split, name):,}" for split in (report.train, report.test)))
    table.add_row("unreadable", *(f"{len(split.unreadable):,}" for split in (report.train, report.test)))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{report.classes} class names")
    console.print(f"{report.train.single_channel + report.test.single_channel} single-channel images")
    console.print(f"{report.identical} byte-identical pairs")
    console.print(f"  {report.conflicting} of them with conflicting labels")
    console.print(f"  {report.across} of them across train and test")

"""`carsfg report`: all finished runs on one page, beside the report this package reproduces."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

DATA = "data"
BEGIN, END = "<!-- carsfg report: {} -->", "<!-- end -->"


def main(args: list[str]) -> int:
    """Run `carsfg report ARGS`.

    Args:
        args: the words after `carsfg report`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, there are no runs, or a file cannot be read or written.
    """
    parser = OneLineParser(
        prog="carsfg report",
        description="Put all tested runs on one page: tables, figures, mistakes.",
    )
    parser.add_argument("logdir", nargs="?", default="lightning_logs", help="where runs lie (default: %(default)s)")
    parser.add_argument("--output", default="report", help="folder for index.html and report.md (default: %(default)s)")
    parser.add_argument(
        "--root",
        help=f"folder of stanford_cars/, for pictures of the cars that are confused (default: {DATA}, if there)",
    )
    parser.add_argument("--no-crop", dest="crop", action="store_false", help="images are crops already")
    parser.add_argument(
        "--update-readme", nargs="?", const="README.md", metavar="FILE", help="refresh the tables between its markers"
    )
    try:
        options = parser.parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    from carsfg.report.groups import group
    from carsfg.report.page import build_markdown, build_page
    from carsfg.report.paper_tables import readme_tables
    from carsfg.report.runs import read_runs

    runs = read_runs(options.logdir)
    groups = group(runs)
    examples = _examples(options.root, options.crop)
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(build_page(groups, examples), encoding="utf-8")
        (folder / "report.md").write_text(build_markdown(groups), encoding="utf-8")
        if options.update_readme:
            path = Path(options.update_readme)
            path.write_text(refresh(path.read_text(encoding="utf-8"), readme_tables(groups)), encoding="utf-8")
            print(f"refreshed the tables of {path}")  # noqa: T201
    except OSError as error:
        raise InputError(f"cannot write the report: {error.filename}: {error.strerror}") from error
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    print(f"{count}: {folder / 'index.html'}, {folder / 'report.md'}")  # noqa: T201
    return 0


def refresh(text: str, tables: dict[str, str]) -> str:
    """Put tables in the place of what stands between their markers.

    Args:
        text: of a Markdown file.
        tables: by name, such as `Table 2`.

    Raises:
        InputError: a marker has no end, or there is none at all.
    """
    found = 0
    for name, table in tables.items():
        before, begin, rest = text.partition(BEGIN.format(name))
        if not begin:
            continue
        _, end, after = rest.partition(END)
        if not end:
            raise InputError(f"the marker {BEGIN.format(name)} has no {END}")
        text, found = f"{before}{begin}\n{table}\n{end}{after}", found + 1
    if not found:
        raise InputError(f"there are no markers, such as {BEGIN.format('Table 2')} and {END}")
    return text


def _examples(root: str | None, crop: bool) -> "dict[str, Image.Image]":
    """Load the first training image of each class, if there is data; a folder that was named must have some."""
    if root is None and not Path(DATA, "stanford_cars").is_dir():
        print(f"no pictures of confused cars: there is no {DATA}/stanford_cars (--root names another)")  # noqa: T201
        return {}
    from carsfg.data.sources.stanford_cars import StanfordCars

    try:
        cars = StanfordCars(root or DATA, "train", crop)
        first: dict[int, int] = {}
        for place, label in enumerate(cars.labels.tolist()):
            first.setdefault(label, place)
        return {cars.class_names[label]: cars.load(place) for label, place in first.items()}
    except InputError as error:
        if root is not None:
            raise
        print(f"no pictures of confused cars: {error}")  # noqa: T201
        return {}

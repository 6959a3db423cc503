"""`carsfg report`: all tested runs on one page, beside the paper's numbers."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.data import PhotoOptions
from carsfg.commands.options import option, parse, positional
from carsfg.errors import InputError
from carsfg.files import replacing

if TYPE_CHECKING:
    from PIL import Image

    from carsfg.data.cropped_images import CroppedImages

DATA = "data"
BEGIN, END = "<!-- carsfg report: {} -->", "<!-- end -->"


@dataclass(frozen=True, kw_only=True)
class ExampleOptions(PhotoOptions):
    """Where pictures of the classes come from.

    Attributes:
        root: folder that contains `stanford_cars/` or class folders, or a table; None: `data`, if it exists.
    """

    root: str | None = option(
        "folder that contains stanford_cars/ or class folders, or a table, for pictures of confused classes; "
        f"by default {DATA}, if it exists",
        None,
    )


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Write all tested runs to one page: tables, curves and confused classes, beside the paper's numbers.

    Attributes:
        folder: directory with runs at any depth, such as `lightning_logs`.
        output: folder to write.
        data: where pictures of the classes come from.
        update_readme: Markdown file whose tables are refreshed.
    """

    folder: str = positional("folder of the runs", "lightning_logs")
    output: str = option("folder for index.html and report.md", "report")
    data: ExampleOptions = field(default_factory=ExampleOptions)
    update_readme: str | None = option(
        "also refresh the tables between the markers of this file; README.md if no file is named",
        None,
        alone="README.md",
    )


def main(args: Sequence[str]) -> int:
    """Run `carsfg report`.

    Args:
        args: the words after `carsfg report`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, there are no runs, or a file cannot be read or written.
    """
    return _report(parse("report", ReportOptions, args))


def _report(options: ReportOptions) -> int:
    from carsfg.report.groups import group, left_out
    from carsfg.report.page import build_markdown, build_page
    from carsfg.report.paper_tables import readme_tables
    from carsfg.report.runs import read_runs

    runs = read_runs(options.folder)
    groups = group(runs)
    for line in left_out(runs, groups):
        print(line, file=sys.stderr)  # noqa: T201
    examples = _examples(options.data)
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "index.html", build_page(groups, examples, folder))
        _write(folder / "report.md", build_markdown(groups))
        if options.update_readme:
            path = Path(options.update_readme)
            _write(path, refresh(path.read_text(encoding="utf-8"), readme_tables(groups)))
            print(f"refreshed the tables of {path}")  # noqa: T201
    except OSError as error:
        raise InputError(f"cannot write the report: {error.filename}: {error.strerror}") from error
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    print(f"{count}: {folder / 'index.html'}, {folder / 'report.md'}")  # noqa: T201
    return 0


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="replace")  # class names may hold what is not UTF-8


def refresh(text: str, tables: dict[str, str]) -> str:
    """Replace the text between markers by tables.

    Args:
        text: of a Markdown file.
        tables: by name, such as `Table 2`.

    Raises:
        InputError: a marker has no end, or no marker was found.
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


def _examples(data: ExampleOptions) -> "dict[str, Image.Image]":
    """Load the first training image of each class; a folder that was named must have some, the default one need not."""
    root = data.root
    if root is None and not Path(DATA, "stanford_cars").is_dir():
        said = f"no pictures of confused classes: {DATA}/stanford_cars does not exist"
        print(f"{said} (name another folder with --data.root)")  # noqa: T201
        return {}
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.stanford_cars_dataset import StanfordCars

    try:
        source = data.read(root) if root is not None else None
        cars: CroppedImages
        if source is None:
            cars = StanfordCars(root or DATA, "train", data.crop)
        else:
            cars = CroppedImages(source, "photos", data.crop)
        return _first_readable(cars)
    except InputError as error:
        if root is not None:
            raise
        print(f"no pictures of confused classes: {error}")  # noqa: T201
        return {}


def _first_readable(cars: "CroppedImages") -> "dict[str, Image.Image]":
    """Load the first readable image of each class; a class without one is left out.

    Raises:
        InputError: no image is readable.
    """
    found: dict[str, Image.Image] = {}
    error: InputError | None = None
    for index, label in enumerate(cars.labels.tolist()):
        if cars.class_names[label] not in found:
            try:
                found[cars.class_names[label]] = cars.load(index)
            except InputError as one:
                error = error or one
    if error is not None and not found:
        raise error
    return found

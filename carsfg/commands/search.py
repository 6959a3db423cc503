"""`carsfg search`: from photos to the most similar cars of a gallery."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from carsfg.data.image_io import Box
    from carsfg.search.engine import Answer, VisualSearch

SHOWN = 50  # photos that a picture holds at most


def main(args: list[str]) -> int:
    """Run `carsfg search ARGS`.

    Args:
        args: the words after `carsfg search`.

    Returns:
        0; 2 where a photo could not be used: it is named on stderr, and the others are answered.

    Raises:
        InputError: the arguments are wrong, or gallery or network cannot be used.
    """
    try:
        options = _parser().parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    from carsfg.data.image_folder import is_folder

    box = None if options.box is None else _box(options.box)
    if box is not None and (len(options.photos) > 1 or options.photos[0] == "-" or is_folder(options.photos[0])):
        raise InputError("--box belongs to one photo: name one")
    if options.k < 1:
        raise InputError("-k must be 1 or more")
    if options.output:
        _check_picture(Path(options.output))
    return _search(options, box)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="carsfg search", description="Find the cars of a gallery that are most similar to a photo."
    )
    parser.add_argument("gallery", help="written by `carsfg index` or `carsfg predict`")
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="files, or folders of them; - reads paths from stdin"
    )
    parser.add_argument("-k", type=int, default=10, help="how many to find (default: %(default)s)")
    parser.add_argument("--box", metavar="X0,Y0,X1,Y1", help="the car in the photo, in pixels; the whole by default")
    for part, example in (("make", "BMW"), ("body", "Coupe"), ("year", "2012")):
        parser.add_argument(
            f"--{part}", type=int if part == "year" else str, help=f"of the cars to find, such as {example}"
        )
    parser.add_argument("--json", action="store_true", help="one JSON object a photo and line")
    parser.add_argument(
        "--output", metavar="FILE", help=f"also draw what was found, for up to {SHOWN} photos: .png, .pdf"
    )
    parser.add_argument("--checkpoint", help="the network that embedded the gallery, if it does not lie in it")
    parser.add_argument("--mmap", action="store_true", help="leave the index on disk: for galleries larger than memory")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    return parser


def _search(options: argparse.Namespace, box: "Box | None") -> int:
    """Answer one photo after the other."""
    from carsfg.data.image_io import crop_photo, read_photo
    from carsfg.hardware import find_device
    from carsfg.search.display import print_answer
    from carsfg.search.engine import VisualSearch, as_dict

    search = VisualSearch.open(options.gallery, options.checkpoint, find_device(options.device), options.mmap)
    if options.output and search.gallery.thumbnails is None:
        raise InputError(f"{options.gallery} has no pictures to draw: build it with `carsfg index`")
    parts = options.make, options.body, options.year
    among = None if parts == (None, None, None) else search.among(*parts)
    shown: list[tuple[str, Image.Image, Answer]] = []
    failed = 0
    for name in _photos(options.photos):
        try:
            if isinstance(name, InputError):
                raise name
            answer = search.search(name, options.k, box, among)
        except InputError as error:
            print(f"carsfg: error: {error}", file=sys.stderr)  # noqa: T201
            failed += 1
            continue
        if options.json:
            print(json.dumps({"photo": name, **as_dict(answer)}), flush=True)  # noqa: T201
        else:
            print_answer(name, answer)
        if options.output and len(shown) < SHOWN:
            small = crop_photo(read_photo(name), box)
            small.thumbnail((300, 300))
            shown.append((Path(name).name, small, answer))
    if shown:
        _draw(options.output, shown, search)
    return 2 if failed else 0


def _photos(words: list[str]) -> "Iterator[str | InputError]":
    """Give the photos' paths: folders stand for all images below them, - for the lines of standard input.

    In place of a folder without images, say so.
    """
    from carsfg.data.image_folder import is_folder, list_images

    for word in words:
        if word == "-":
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        elif is_folder(word):
            found = list_images(Path(word))
            yield from map(str, found)
            if not found:
                yield InputError(f"no image in {word}")
        else:
            yield word


def _box(text: str) -> "Box":
    try:
        x0, y0, x1, y1 = map(int, text.split(","))
    except ValueError:
        raise InputError(f"--box {text}: give four whole numbers, X0,Y0,X1,Y1") from None
    return x0, y0, x1, y1


def _check_picture(path: Path) -> None:
    """Refuse what cannot be drawn before anything is searched."""
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise InputError(f"--output {path}: a picture's name ends in .png, .jpg, .pdf or .svg")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no such folder")


def _draw(output: str, shown: "list[tuple[str, Image.Image, Answer]]", search: "VisualSearch") -> None:
    from carsfg.search.display import answer_figure

    assert search.gallery.thumbnails is not None  # noqa: S101
    try:
        answer_figure(shown, search.gallery.thumbnails).savefig(output)
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from error
    print(f"drawn: {output}", file=sys.stderr)  # noqa: T201

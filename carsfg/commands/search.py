"""`carsfg search`: from photos to the most similar cars of a gallery."""

import gc
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carsfg.commands.boxing import Boxing
from carsfg.commands.options import DeviceOptions, option, parse, positional
from carsfg.commands.outputs import check_picture
from carsfg.commands.photo_list import list_photos
from carsfg.errors import InputError
from carsfg.files import replacing

if TYPE_CHECKING:
    from PIL import Image

    from carsfg.data.image_io import Box
    from carsfg.search.answer import Answer
    from carsfg.search.engine import VisualSearch

MAX_SMALL_K = 100  # images that may be asked for, also of a smaller gallery, which gives all it has
MAX_DRAWN_PHOTOS = 50  # rows of a picture
PICTURE_PIXELS = 300  # longer side of a photo in a picture
JSON_DIGITS = 6  # more are not reproducible between machines


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Boxing, DeviceOptions):
    """Find the cars of a gallery that are most similar to a photo.

    Attributes:
        gallery: folder that `carsfg index` or `carsfg predict` wrote.
        photos: files, folders or `-`.
        k: number of images to find.
        box: of the car in the photo, or how it is found.
        where: only images with these attributes are found, such as `make=BMW`.
        mirror: search with photo and mirror image.
        json: write JSON lines.
        output: picture to write.
        checkpoint: network that embedded the gallery.
        mmap: leave the index on disk.
    """

    gallery: str = positional("folder that `carsfg index` or `carsfg predict` wrote")
    photos: tuple[str, ...] = positional(
        "files, or folders of them; - reads paths from standard input", nargs="+", metavar="PHOTO"
    )
    k: int = option("number of images to find", 10, short="-k")
    box: str | None = option(
        "X0,Y0,X1,Y1 of the car in one photo, in pixels; or auto, detector or none, as in `carsfg index`; by default "
        "as the gallery's images were cut",
        None,
    )
    where: tuple[str, ...] = option(
        "NAME=VALUE: find only images with this attribute, such as make=BMW; may be given several times", ()
    )
    mirror: bool = option("search with the mean of the embeddings of the photo and its mirror image", False)
    json: bool = option("write one line of JSON per photo", False)
    output: str | None = option(
        f"also draw the found images into this .png, .jpg, .pdf or .svg, for up to {MAX_DRAWN_PHOTOS} photos", None
    )
    checkpoint: str | None = option("network that embedded the gallery; by default the one in the gallery", None)
    mmap: bool = option("leave the index on disk, for galleries larger than memory", False)


def main(args: Sequence[str]) -> int:
    """Run `carsfg search`.

    Args:
        args: the words after `carsfg search`.

    Returns:
        0; 2 if a photo could not be used: it is named on stderr, and the others are answered.

    Raises:
        InputError: the arguments are wrong, or gallery or network cannot be used.
    """
    options = parse("search", SearchOptions, args)
    with _without_garbage_collection():
        from carsfg.data.image_folder import is_folder
        from carsfg.search.box_choice import MODES

    box = None if options.box is None or options.box in MODES else _box(options.box)
    if box is not None and (len(options.photos) > 1 or options.photos[0] == "-" or is_folder(options.photos[0])):
        raise InputError("--box belongs to one photo: name one")
    if box is not None and options.boxes:
        raise InputError("--box and --boxes both give the box of the photo: leave one out")
    if options.k < 1:
        raise InputError(f"-k {options.k} must be 1 or more")
    if options.output:
        check_picture(options.output)
    return _search(options, box)


def _search(options: SearchOptions, box: "Box | None") -> int:
    """Answer one photo after the other."""
    wanted = _wanted(options.where)
    with _without_garbage_collection():
        from carsfg.data.box_table import BoxTable
        from carsfg.hardware import find_device
        from carsfg.search.display import print_answer
        from carsfg.search.engine import VisualSearch

        table = BoxTable.read(options.boxes) if options.boxes else None
        device, mode = find_device(options.device), options.box if box is None else "none"
        search = VisualSearch.open(
            options.gallery,
            options.checkpoint,
            device,
            options.mmap,
            mode,
            options.detector_weights,
            mirror=options.mirror,
            inference=True,
        )
    most = max(len(search.gallery), MAX_SMALL_K)
    if options.k > most:
        raise InputError(
            f"-k {options.k} is above the {len(search.gallery):,} images of the gallery: use {most} or less"
        )
    if search.box_line and box is None:
        print(search.box_line, file=sys.stderr)  # noqa: T201
    if options.output and search.gallery.thumbnails is None:
        raise InputError(f"{options.gallery} has no pictures to draw: make it with `carsfg index`")
    among = search.among(wanted) if wanted else None
    drawn: list[tuple[str, Image.Image, Answer]] = []
    failed = 0
    for name in list_photos(options.photos):
        try:
            if isinstance(name, InputError):
                raise name
            place = table.find(name) if table else box
            where = table.name(name) if table and place else None
            answer, picture = search.search_with_picture(name, options.k, place, among, where)
        except InputError as error:
            print(f"carsfg: error: {error}", file=sys.stderr)  # noqa: T201
            failed += 1
            continue
        if options.json:
            print(json_line(name, answer), flush=True)  # noqa: T201
        else:
            print_answer(name, answer)
        if options.output and len(drawn) < MAX_DRAWN_PHOTOS:
            picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
            drawn.append((Path(name).name, picture, answer))
    if drawn and options.output:
        _draw(options.output, drawn, search)
    return 2 if failed else 0


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause Python's search for cycles, which takes a seventh of the time of the imports and finds next to nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def json_line(name: str, answer: "Answer") -> str:
    """Return an answer as one line of JSON, with numbers of 6 digits after the point.

    Args:
        name: path of the photo.
        answer: matches, vote and classes of the photo.
    """
    from carsfg.search.engine import as_dict

    return json.dumps(_rounded({"photo": name, **as_dict(answer)}))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, JSON_DIGITS) if isinstance(value, float) else value


def _wanted(words: Sequence[str]) -> dict[str, str]:
    """Return the value of each attribute that `--where` names."""
    wanted: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise InputError(f"--where {word!r} must be NAME=VALUE, such as make=BMW")
        if name in wanted:
            raise InputError(f"--where names {name!r} twice: keep one")
        wanted[name] = value
    return wanted


def _box(text: str) -> "Box":
    try:
        x0, y0, x1, y1 = map(int, text.split(","))
    except ValueError:
        raise InputError(
            f"--box {text!r} must be four whole numbers, X0,Y0,X1,Y1, or one of auto, none, detector"
        ) from None
    return x0, y0, x1, y1


def _draw(output: str, drawn: "list[tuple[str, Image.Image, Answer]]", search: "VisualSearch") -> None:
    from carsfg.search.answer_figure import answer_figure

    assert search.gallery.thumbnails is not None  # noqa: S101
    try:
        with replacing(output) as beside:
            answer_figure(drawn, search.gallery.thumbnails).savefig(beside)
    except OSError as error:
        raise InputError(f"cannot write {output!r}: {error.strerror}") from error
    print(f"drawn: {output}", file=sys.stderr)  # noqa: T201

"""The boxes of the images that `carsfg index` reads: annotated ones, those of a table, and found ones."""

import sys
from typing import TYPE_CHECKING

from carsfg.commands.index_options import IndexOptions
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.run_record import RunRecord
    from carsfg.search.box_choice import BoxSource
    from carsfg.search.embedded import EmbeddedPhotos
    from carsfg.tasks.base import CarsTask

LOOKED_AT = 20  # images whose size is read, to recognise prepared squares


def choose_box(
    options: IndexOptions, photos: "CroppedImages", record: "RunRecord", task: "CarsTask", bfloat16: bool, crop: bool
) -> "tuple[str, BoxSource | None]":
    """Decide how images without a row in the table of boxes are cut, and say so in one line on stderr.

    Args:
        options: parsed command line.
        photos: images of the folder or table, with their own boxes if they have any.
        record: of the run that made the checkpoint.
        task: network that embeds the images.
        bfloat16: use bfloat16 autocast.
        crop: whether images are cut to their own boxes.

    Returns:
        The value for the gallery's record, `data["box"]`, and what finds boxes; None takes the images as they are.

    Raises:
        InputError: options contradict each other, or the asked way cannot be used.
    """
    from carsfg.data.crop_check import holds_crops
    from carsfg.search.box_choice import (
        ANNOTATED,
        BOX_CROPS,
        are_squares,
        choose_for_index,
        difference_line,
    )
    from carsfg.search.finders import box_line, make_finder

    has_boxes = photos.boxes is not None
    if has_boxes and options.boxes and options.data.crop is not False:
        raise InputError(
            f"--boxes: the images of {photos.folder} have boxes of their own; add --data.crop=false, or leave it out"
        )
    if has_boxes and (crop or holds_crops(photos)):
        if options.box not in (None, "none") or options.boxes:
            given = "--boxes" if options.boxes else f"--box {options.box}"
            raise InputError(
                f"{given}: the images of {photos.folder} are box crops already, by their annotations; "
                + ("add --data.crop=false, or leave it out" if crop else "leave it out")
            )
        _say(difference_line(record, BOX_CROPS, "the images"))
        return ANNOTATED, None
    squares = are_squares(some_sizes(photos))
    asked = options.box or ("none" if has_boxes and options.data.crop is False else None)
    mode, reason = choose_for_index(asked, record, squares)
    finder = make_finder(mode, task, bfloat16, options.detector_weights, options.box is not None)
    if squares or options.boxes:  # not whole photos
        _say(f"box: {mode} ({reason})" if reason else "")
    else:
        _say(box_line(mode, reason, finder, record, "the images"))
    return ("none" if finder is None else mode), finder


def say_boxed(embedded: "EmbeddedPhotos", table: str | None) -> None:
    """Print how many images were cut to a box, and how many were taken whole, on stderr.

    Args:
        embedded: all images of a folder.
        table: path of the table of boxes.

    Raises:
        InputError: the table has no box for any of the images.
    """
    count = len(embedded.places)
    if table and not embedded.boxed:
        raise InputError(
            f"{table} has no box for any of the {count} images: its paths begin at the folder of the images"
        )
    if embedded.boxed < count:
        _say(f"{embedded.boxed:,} images were cut to a box, {count - embedded.boxed:,} were used whole")


def some_sizes(photos: "CroppedImages") -> list[tuple[int, int]]:
    """Return width and height in pixels of some images; files that are not images are left out.

    Args:
        photos: images of a folder or table.
    """
    from carsfg.data.image_io import DECODE_ERRORS, upright_size

    sizes = []
    for path in photos.paths[:: max(1, len(photos) // LOOKED_AT)]:
        try:
            sizes.append(upright_size(path))
        except DECODE_ERRORS:
            continue
    return sizes


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)  # noqa: T201

"""Which part of a photo is embedded: the rules behind `--box`, and the line that says what was decided.

A network learned from box crops or from whole photos; its run record says so. Photos and gallery images are cut to
match it, and queries are treated as the gallery was.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from PIL import Image

from carsfg.data.image_io import Box
from carsfg.errors import InputError
from carsfg.run_record import RunRecord

BoxMode = Literal["auto", "none", "detector"]
MODES: tuple[BoxMode, ...] = ("auto", "none", "detector")
BOX_CROPS, WHOLE_PHOTOS = "box crops", "whole photos"  # values of `data["learned_from"]` in a run record
ANNOTATED = "annotated"  # value of `data["box"]`: the gallery's images were cut to the boxes of their data set
TABLE = "table"  # value of `data["box"]`: cut to the boxes of `--boxes`


class BoxSource(Protocol):
    """Finds the car in photos; `BoxFinder` and `Detector` do."""

    def find(self, photos: Sequence[Image.Image]) -> Sequence[Box | None]:
        """Return the box of each photo in pixels, half-open; None where there is no car.

        Args:
            photos: upright RGB images of any size.
        """


def learned_from(record: RunRecord) -> str | None:
    """Return what a network learned from, `box crops` or `whole photos`; None if its record does not say.

    Args:
        record: of the run that trained it; without `learned_from` in its data block, `crop` decides where it is true.
    """
    if "learned_from" in record.data:
        images = record.data["learned_from"]
        return str(images) if images in (BOX_CROPS, WHOLE_PHOTOS) else None
    return BOX_CROPS if record.data.get("crop") is True else None


def are_squares(sizes: Sequence[tuple[int, int]]) -> bool:
    """Return whether all images are squares of one size, as prepared crops are and photos of a camera are not.

    Args:
        sizes: width and height of some images in pixels.
    """
    return len(sizes) > 1 and len({*sizes}) == 1 and sizes[0][0] == sizes[0][1]


def choose_for_index(asked: str | None, record: RunRecord, squares: bool) -> tuple[BoxMode, str]:
    """Decide how the photos of a folder without annotations are cut.

    Args:
        asked: value of `--box`; None decides by the record.
        record: of the run that made the network.
        squares: whether the images are squares of one size, see `are_squares`.

    Returns:
        The mode, and the reason in words.

    Raises:
        InputError: `asked` is not a mode.
    """
    if asked is not None:
        return check_mode(asked), "as asked"
    if learned_from(record) != BOX_CROPS:
        return "none", "the network did not learn from box crops" if learned_from(record) else ""
    if squares:
        return "none", "the images are squares of one size: taken as box crops"
    return "auto", "the network learned from box crops"


def choose_for_queries(asked: str | None, gallery: RunRecord) -> tuple[BoxMode, str]:
    """Decide how photos to search with are cut: as the gallery's were, or to match what the network learned from.

    Args:
        asked: value of `--box`; None decides by the record.
        gallery: record of the gallery; `data["box"]` says how its images were cut.

    Returns:
        The mode, and the reason in words.

    Raises:
        InputError: `asked` is not a mode.
    """
    if asked is not None:
        return check_mode(asked), "as asked"
    made = gallery.data.get("box")
    if made in MODES:
        reason = "as the gallery's images" if made != "none" or learned_from(gallery) else ""
        return check_mode(str(made)), reason
    if made in (ANNOTATED, TABLE):
        return "auto", "the gallery's images are cut to their boxes"
    if learned_from(gallery) == BOX_CROPS:
        return "auto", "the network learned from box crops"
    return "none", ""


def check_mode(word: str) -> BoxMode:
    """Return a mode.

    Args:
        word: value of `--box`.

    Raises:
        InputError: it is not `auto`, `none` or `detector`.
    """
    for mode in MODES:
        if word == mode:
            return mode
    raise InputError(f"--box {word!r} must be one of {', '.join(MODES)}")


def difference_line(record: RunRecord, given: str, what: str, advice: bool = True) -> str:
    """Return one line if a network gets other images than it learned from; otherwise an empty text.

    Args:
        record: of the run that trained it.
        given: `box crops` or `whole photos`.
        what: name of the images, such as `the photos`.
        advice: name the options of `carsfg index` and `search` that give boxes to whole photos.
    """
    learned = learned_from(record)
    if learned is None or learned == given:
        return ""
    options = "; --box auto finds the car, --boxes TABLE gives boxes" if advice and given == WHOLE_PHOTOS else ""
    return f"{what} are {given}, but this network learned from {learned}: expect worse results{options}"

"""One upload in, one piece of a page out. Uploads are hostile until they are decoded; nothing of them is kept."""

import base64
import json
import math
from dataclasses import dataclass
from threading import Lock
from typing import Any

from PIL import Image

from carsfg.app.results import EMPTY, complaint, page_of, preview
from carsfg.app.saliency import heat_map, overlay
from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box, crop_photo, read_photo
from carsfg.errors import InputError
from carsfg.search.engine import VisualSearch

MOST = 28 * 2**20  # characters of what the page sends: a photo of 20 MB in base 64
LONGEST = 1280  # pixels of a photo that the browser could not decode and gets back
ANY = "any"


class Answers:
    """Answers what the page sends.

    Args:
        search: network and gallery.
        count: how many images to show.
    """

    def __init__(self, search: VisualSearch, count: int = 12) -> None:
        self.search, self.count = search, count
        self.network = Lock()  # a heat map listens to all that passes through it

    def answer(self, sent: str | None, make: str = ANY, body: str = ANY, year: str = ANY) -> str:
        """Search for a photo.

        Args:
            sent: JSON of `image`, a data URL, and if wanted `box`, four shares of its sides, `raw`, whether the browser
                cannot decode it and wants it back as JPEG, and `number`, by which it knows it again.
            make: of the cars to search among, or `any`.
            body: likewise.
            year: likewise.

        Returns:
            The HTML of what was found, or of what is wrong.
        """
        if not sent:
            return EMPTY
        back = ""
        try:
            asked = _decode(sent)
            if asked.raw:
                asked.image.thumbnail((LONGEST, LONGEST))
                back = preview(asked.image, asked.number)
            box = None if asked.corners is None else _box(asked.corners, asked.image)
            return self._page(crop_photo(asked.image, box), make, body, year) + back
        except InputError as error:
            return complaint(str(error)) + back

    def _page(self, image: Image.Image, make: str, body: str, year: str) -> str:
        chosen = [None if one == ANY else one for one in (make, body, year)]
        among = None
        if chosen != [None] * 3:
            number = None if chosen[2] is None or not chosen[2].isdecimal() else int(chosen[2])
            among = self.search.among(chosen[0], chosen[1], number)
        with self.network:
            answer = self.search.search(image, self.count, among=among)
            if not answer.matches:  # an approximate index may look at empty lists alone
                raise InputError("nothing was found: move the box a little, or search among more cars")
            heat = self._heat(image, answer.matches[0].place)
        return page_of(answer, self.search.gallery.thumbnails, heat)

    def _heat(self, image: Image.Image, nearest: int) -> Image.Image | None:
        target = self.search.gallery.vector(nearest)
        if target is None:
            return None
        heat = heat_map(self.search.task, to_square(image, self.search.size), target)
        small = image.copy()
        small.thumbnail((320, 320))
        return None if heat is None else overlay(small, heat)


@dataclass(frozen=True)
class _Asked:
    image: Image.Image
    corners: Any
    raw: bool
    number: int


def _decode(sent: str) -> _Asked:
    """Check and decode what the page sent, all but the box.

    Raises:
        InputError: it is no photo, or too large.
    """
    if len(sent) > MOST:
        raise InputError("this photo is too large: photos of up to 20 MB are taken")
    try:
        facts: Any = json.loads(sent)
        kind, _, data = facts["image"].partition(";base64,")
        number = facts.get("number", 0)
        if not kind.startswith("data:") or not isinstance(number, int):
            raise ValueError
        image = read_photo(base64.b64decode(data, validate=True), "this file")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError("this is not what the page sends: reload it, and choose a photo") from None
    return _Asked(image, facts.get("box"), facts.get("raw") is True, number)


def _box(corners: Any, image: Image.Image) -> Box:
    """Turn shares of the sides into whole pixels, at least one."""
    try:
        shares = [float(one) for one in corners]
    except (TypeError, ValueError, OverflowError):
        shares = []
    if len(shares) != 4 or not all(map(math.isfinite, shares)):
        raise InputError("the box is not four numbers: reload the page")
    x0, y0, x1, y1 = (min(1.0, max(0.0, one)) for one in shares)
    left, top = min(int(x0 * image.width), image.width - 1), min(int(y0 * image.height), image.height - 1)
    return left, top, max(left + 1, round(x1 * image.width)), max(top + 1, round(y1 * image.height))

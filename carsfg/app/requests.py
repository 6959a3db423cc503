"""Request handling: from an uploaded photo to the HTML of the results. Uploads are untrusted and are not stored."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from PIL import Image

from carsfg.app.results import EMPTY, answer_html, error_html, found_html, preview_html
from carsfg.app.saliency import heat_map, overlay
from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box
from carsfg.data.photo import Photo
from carsfg.errors import InputError
from carsfg.search.engine import VisualSearch

MAX_REQUEST_CHARACTERS = 28 * 2**20  # a photo of 20 MB in base64
MAX_PREVIEW_SIDE_PX = 1280
MAX_HEAT_MAP_SIDE_PX = 320
ANY = "any"
"""Filter choice that selects all cars."""
MAX_FILTER_VALUES = 60  # an attribute with more different values is not a filter


class Answers:
    """Answers the requests of the page.

    Args:
        search: gallery and the network that embedded it.
        count: number of similar images to show.

    Attributes:
        filters: the values to choose from, by the name of each attribute with at most 60 values that not all images
            share; numbers in their order.
    """

    def __init__(self, search: VisualSearch, count: int = 12) -> None:
        self.search, self.count = search, count
        attributes = search.gallery.attributes
        telling = [name for name, texts in attributes.values.items() if len(texts) > 1]  # not the same for all images
        known = {name: attributes.choices(name) for name in telling}
        self.filters = {name: texts for name, texts in known.items() if len(texts) <= MAX_FILTER_VALUES}
        self.network_lock = Lock()  # heat maps register hooks, which must not see the images of other requests

    def answer(self, sent: str | None, *chosen: str) -> str:
        """Search for the cars most similar to a photo.

        Args:
            sent: JSON object with `image` (data URL) and optionally `box` (x0, y0, x1, y1 as fractions of the image's
                width and height, 0..1; without it the car is found as in the gallery's images), `raw` (true if the
                browser cannot decode the image and needs it as JPEG) and `number` (integer that identifies the photo
                in the browser).
            *chosen: value of each attribute in `filters` to search among, or `any`.

        Returns:
            HTML of the results, or of an error message.
        """
        if not sent:
            return EMPTY
        preview = ""
        try:
            upload = self._decode(sent)
            if upload.raw:
                small = upload.photo.image.copy()
                small.thumbnail((MAX_PREVIEW_SIDE_PX, MAX_PREVIEW_SIDE_PX))
                preview = preview_html(small, upload.number)
            box = None if upload.corners is None else _box(upload.corners, upload.photo.size)
            return self._search(upload, box, chosen) + preview
        except InputError as error:
            return error_html(str(error)) + preview

    def _search(self, upload: "_Upload", box: Box | None, chosen: Sequence[str]) -> str:
        wanted = {name: one for name, one in zip(self.filters, chosen, strict=False) if one != ANY}
        among = self.search.among(wanted) if wanted else None
        with self.network_lock:
            answer, picture = self.search.search_with_picture(upload.photo, self.count, box, among)
            if not answer.matches:  # an approximate index may visit empty lists only
                raise InputError("no similar car found; move the box a little or relax the filters")
            heat = self._heat(picture, answer.matches[0].place)
        found = found_html(answer.box, upload.photo.size, upload.number) if box is None and answer.box else ""
        return answer_html(answer, self.search.gallery.thumbnails, heat, self.search.gallery.metric) + found

    def _decode(self, sent: str) -> "_Upload":
        """Parse a request and decode its photo; the box is not checked.

        Raises:
            InputError: the request is malformed, or the photo cannot be decoded or is too large.
        """
        if len(sent) > MAX_REQUEST_CHARACTERS:
            raise InputError("the photo is too large; use a photo of at most 20 MB")
        try:
            request: Any = json.loads(sent)
            kind, _, data = request["image"].partition(";base64,")
            number = request.get("number", 0)
            if not kind.startswith("data:") or not isinstance(number, int):
                raise ValueError
            content = base64.b64decode(data, validate=True)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError("malformed request; reload the page and choose a photo") from None
        corners, raw = request.get("box"), request.get("raw") is True
        part = None if _fractions(corners) is None else lambda *size: _box(corners, size)
        whole_px = MAX_PREVIEW_SIDE_PX if raw else 0
        return _Upload(self.search.read(content, part, whole_px, "this file"), corners, raw, number)

    def _heat(self, image: Image.Image, nearest: int) -> Image.Image | None:
        target = self.search.gallery.vector(nearest)
        if target is None:
            return None
        heat = heat_map(self.search.task, to_square(image, self.search.size), target)
        small = image.copy()
        small.thumbnail((MAX_HEAT_MAP_SIDE_PX, MAX_HEAT_MAP_SIDE_PX))
        return None if heat is None else overlay(small, heat)


@dataclass(frozen=True)
class _Upload:
    """A decoded photo, its unchecked crop box, and the fields `raw` and `number` of the request."""

    photo: Photo
    corners: Any
    raw: bool
    number: int


def _box(corners: Any, size: tuple[int, int]) -> Box:
    """Convert fractions of width and height to pixels, clipped to the photo; the box has at least one pixel."""
    fractions = _fractions(corners)
    if fractions is None:
        raise InputError("the crop box is not four numbers; reload the page")
    (x0, y0, x1, y1), (width, height) = (min(1.0, max(0.0, fraction)) for fraction in fractions), size
    left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
    return left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height))


def _fractions(corners: Any) -> list[float] | None:
    """Return four finite numbers; None if that is something else."""
    try:
        fractions = [float(corner) for corner in corners]
    except (TypeError, ValueError, OverflowError):
        return None
    return fractions if len(fractions) == 4 and all(map(math.isfinite, fractions)) else None

"""Photos for embedding, decoded no larger than needed: the one rule for gallery images and for queries.

Pillow decodes a JPEG at 1/2, 1/4 or 1/8 of its size in a fraction of the time. The largest of these factors is taken
that leaves the part to embed at least twice as wide and as high as the square it is resized to.

Tolerance: the cosine similarity of the embeddings with and without is 0.998 or more (0.999 in the worst of 12 drawn
scenes of 2,000 pixels with noise, MobileNetV2 and ResNet-50 with ImageNet weights at 224; 0.995 if the part were as
large as the square; different scenes have 0.75 to 0.85).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from carsfg.data.image_io import Box, check_box, read_image

FACTORS = (8, 4, 2)
OVERSAMPLING = 2  # sides of the part to embed, over the side of the square it is resized to
MIN_LONGER_SIDE_PX = 448  # of that part: twice a gallery's thumbnail, and more than the pictures of answers
RULE_VERSION = 1  # raise it whenever a photo may be decoded at another size than before


@dataclass(frozen=True)
class Photo:
    """A decoded photo, which may be smaller than its file.

    Attributes:
        image: upright RGB image; the sides of the file over 1, 2, 4 or 8, rounded up, or any smaller size.
        size: width and height of the file in pixels, upright; boxes are in these pixels.
    """

    image: Image.Image
    size: tuple[int, int]

    @classmethod
    def of(cls, image: Image.Image) -> "Photo":
        """Return a photo of full size.

        Args:
            image: upright RGB image.
        """
        return cls(image, image.size)

    def part(self, box: Box | None, name: str = "the photo") -> Image.Image:
        """Cut a box out; without one return the whole image.

        Args:
            box: `x0, y0, x1, y1` in pixels of the file, half-open; of a smaller image, edges go to the nearest pixel.
            name: name of the photo in error messages.

        Raises:
            InputError: the box is empty or leaves the file.
        """
        if box is None:
            return self.image
        check_box(box, self.size, name)
        if box == (0, 0, *self.size):
            return self.image
        return self.image.crop(box if self.image.size == self.size else self._scaled(box))

    def _scaled(self, box: Box) -> Box:
        """Return a box of the file in pixels of the image, at least one wide and high."""
        (x0, y0, x1, y1), (width, height) = box, self.image.size
        across, down = width / self.size[0], height / self.size[1]
        left, top = min(round(x0 * across), width - 1), min(round(y0 * down), height - 1)
        return left, top, max(round(x1 * across), left + 1), max(round(y1 * down), top + 1)


def read_photo(
    source: str | Path | bytes,
    side: int,
    part: Callable[[int, int], Box | None] | None = None,
    whole_px: int = 0,
    name: str | None = None,
) -> Photo:
    """Decode a photo, no larger than needed; see the module's docstring.

    Args:
        source: path of the file, or its bytes.
        side: of the square that the part to embed is resized to, in pixels.
        part: takes the upright width and height of the file, and returns the box to embed in pixels, half-open; None:
            the whole photo. It may raise InputError. Without this function it is the whole photo, unless that is
            needed at `whole_px`.
        whole_px: longer side that the whole photo needs, in pixels, for a part that is still to be found, or to show
            it; 0: none.
        name: name of the photo in error messages; the path by default.

    Raises:
        InputError: as `read_image` raises it.
    """
    sizes: list[tuple[int, int]] = []

    def shrink(width: int, height: int) -> int:
        sizes.append((width, height))
        box = part(width, height) if part else None
        if box is None:
            box = (0, 0, width, height)
        needed = None if part is None and whole_px else (box[2] - box[0], box[3] - box[1])
        return reduction((width, height), needed, side, whole_px)

    image = read_image(source, name, shrink)
    return Photo(image, sizes[-1])


def reduction(size: tuple[int, int], part: tuple[int, int] | None, side: int, whole_px: int = 0) -> int:
    """Return the factor, 1, 2, 4 or 8, that a JPEG may be reduced by.

    Args:
        size: width and height of the file in pixels.
        part: width and height of the part to embed in pixels; None: it is still to be found.
        side: of the square that it is resized to, in pixels.
        whole_px: longer side that the whole photo needs, in pixels.
    """
    for factor in FACTORS:
        enough = part is None or (
            min(part) >= factor * OVERSAMPLING * side and max(part) >= factor * MIN_LONGER_SIDE_PX
        )
        if enough and max(size) >= factor * whole_px:
            return factor
    return 1

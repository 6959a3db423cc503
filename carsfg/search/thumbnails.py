"""Small pictures of a gallery's images, to show matches where the images themselves are not available."""

import io
from collections.abc import Iterable

from PIL import Image

from carsfg.data.image_io import DECODE_ERRORS
from carsfg.errors import InputError
from carsfg.search.packed import PackedBytes

SIDE_PIXELS = 224  # of the longer side
JPEG_QUALITY = 80  # about 11 KB per picture
MISSING_GREY = (192, 192, 192)  # of the pictures that stand for images without one


class Thumbnails:
    """Pictures as JPEG files.

    Args:
        packed: the files, in the gallery's order.
    """

    def __init__(self, packed: PackedBytes) -> None:
        self.packed = packed

    @classmethod
    def of(cls, jpegs: Iterable[bytes]) -> "Thumbnails":
        """Join files.

        Args:
            jpegs: as `encode` makes them, one per image, in the gallery's order.
        """
        return cls(PackedBytes.pack(jpegs))

    @classmethod
    def missing(cls, count: int) -> "Thumbnails":
        """Return grey squares, for images without pictures in a gallery that has pictures.

        Args:
            count: number of images.
        """
        return cls.of([encode(Image.new("RGB", (SIDE_PIXELS, SIDE_PIXELS), MISSING_GREY))] * count)

    def __len__(self) -> int:
        return len(self.packed)

    def jpeg(self, place: int) -> bytes:
        """Return the file of a picture.

        Args:
            place: of the image in the gallery.
        """
        return self.packed[place]

    def __getitem__(self, place: int) -> Image.Image:
        """Decode a picture, as RGB of at most 224 x 224 pixels.

        Raises:
            InputError: it is damaged.
        """
        try:
            return Image.open(io.BytesIO(self.jpeg(place)), formats=("JPEG",)).convert("RGB")
        except DECODE_ERRORS as error:
            raise InputError(
                f"the picture of image {place} in the gallery's thumbnails.npy is damaged ({error}): index again"
            ) from error


def encode(image: Image.Image) -> bytes:
    """Shrink an RGB image, keeping its aspect ratio, and encode it as JPEG.

    Args:
        image: of any size.
    """
    small = image.copy()
    small.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()

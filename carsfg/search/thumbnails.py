"""Small pictures of a gallery's images, so that what is found can be shown wherever the images themselves are."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from carsfg.data.image_io import DECODE_ERRORS
from carsfg.errors import InputError

SIDE, QUALITY = 224, 80  # pixels of the longer side, and of JPEG: about 11 KB each


class Thumbnails:
    """JPEGs that lie one after the other.

    Args:
        data: uint8 (B,), all of them; from a file it is memory-mapped.
        offsets: where each of the N begins, and where the last one ends: N + 1 numbers.

    Raises:
        ValueError: the numbers do not belong to the data.
    """

    def __init__(self, data: npt.NDArray[np.uint8], offsets: Sequence[int]) -> None:
        self.data, self.offsets = data, list(offsets)
        fits = self.offsets and self.offsets[0] == 0 and self.offsets[-1] == len(data)
        if not fits or (np.diff(self.offsets) < 0).any():
            raise ValueError("its pictures are not where they should be")

    @classmethod
    def of(cls, jpegs: Sequence[bytes]) -> "Thumbnails":
        """Put files, as `encode` makes them, together.

        Args:
            jpegs: one an image, in the gallery's order.
        """
        offsets = np.cumsum([0, *map(len, jpegs)]).tolist()
        return cls(np.frombuffer(b"".join(jpegs), np.uint8), offsets)

    @classmethod
    def open(cls, path: Path, offsets: Sequence[int]) -> "Thumbnails":
        """Map the file that `save` wrote.

        Args:
            path: the file.
            offsets: of the thumbnails that were saved.

        Raises:
            OSError, ValueError: it cannot be read, or the numbers do not belong to it.
        """
        return cls(np.memmap(path, np.uint8, "r"), offsets)

    def save(self, path: Path) -> None:
        """Write them all to a file.

        Args:
            path: the file to write.
        """
        self.data.tofile(path)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def jpeg(self, index: int) -> bytes:
        """Return the file of one.

        Args:
            index: its place in the gallery.
        """
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __getitem__(self, index: int) -> Image.Image:
        """Decode one, as RGB of at most 224 x 224 pixels.

        Raises:
            InputError: it is damaged.
        """
        try:
            return Image.open(io.BytesIO(self.jpeg(index)), formats=("JPEG",)).convert("RGB")
        except DECODE_ERRORS as error:
            raise InputError(f"the gallery's thumbnails.bin is damaged ({error}): build it anew") from error


def encode(image: Image.Image) -> bytes:
    """Shrink an RGB image, keeping its shape, and encode it as JPEG.

    Args:
        image: of any size.
    """
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()

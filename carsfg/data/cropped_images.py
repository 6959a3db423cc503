"""The images of a source as a plain PyTorch dataset, cut to their boxes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.image_io import DECODE_ERRORS, read_bytes, read_image, upright_size
from carsfg.data.sources.source import NO_BOX, ImageSource
from carsfg.errors import InputError

MAX_MARGIN = 10  # share of the box that may be added on each side


class CroppedImages(Dataset[dict[str, Any]]):
    """The images of a source, each cut to its box.

    Args:
        source: files, labels and boxes.
        name: name of these images in messages and in the names of caches, such as `train`.
        crop: cut each image to its box, if the source has boxes; `False` if the images are cut already.
        margin: share of the box's width and height that is added on each side, 0 to 10; clipped at the image.
        transform: turns the RGB crop into the value of `"image"`; by default a uint8 tensor (3, H, W).

    Attributes:
        source: files, labels, boxes and further columns.
        folder: folder that image names are relative to.
        paths: the N image files.
        labels: int64 (N,), 0-based, in the order of `class_names`.
        class_names: names of the C classes.

    Raises:
        InputError: a box leaves its image.
    """

    def __init__(
        self,
        source: ImageSource,
        name: str = "images",
        crop: bool = True,
        margin: float = 0.0,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        if not 0 <= margin <= MAX_MARGIN:
            raise InputError(f"margin is {margin}: use a share of the box between 0 and {MAX_MARGIN}")
        self.source, self.name, self.margin, self.transform = source, name, margin, transform
        self.crop = crop and source.boxes is not None
        self.folder, self.paths, self.class_names = source.folder, source.paths, source.class_names
        self.labels = source.labels
        if self.crop and self.paths:
            self._check_far_boxes()

    @property
    def boxes(self) -> Tensor | None:
        """int64 (N, 4), `x0, y0, x1, y1` in pixels, 0-based and half-open, of the uncropped images; None: no boxes."""
        return self.source.boxes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return `{"image": transform(crop) or uint8 (3, H, W), "label": int, "index": int}`."""
        image = self.load(index)
        pixels = self.transform(image) if self.transform else to_tensor(image)
        return {"image": pixels, "label": int(self.labels[index]), "index": index}

    def load(self, index: int) -> Image.Image:
        """Read, decode and crop one image, as RGB.

        Args:
            index: place in `paths`.

        Raises:
            InputError: the file cannot be read or decoded, or its box leaves it.
        """
        return self.decode(index, self.read(index))

    def read(self, index: int) -> bytes:
        """Read the file of one image.

        Args:
            index: place in `paths`.

        Raises:
            InputError: the file cannot be read.
        """
        return read_bytes(self.paths[index])

    def decode(self, index: int, data: bytes) -> Image.Image:
        """Decode and crop one image, as RGB.

        Args:
            index: place in `paths`.
            data: bytes of its file.

        Raises:
            InputError: the bytes are not an image, or the box leaves it.
        """
        image = read_image(data, str(self.paths[index]))
        rectangle = self.rectangle(index, *image.size)
        return image if rectangle == (0, 0, *image.size) else image.crop(rectangle)

    def rectangle(self, index: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Return what is cut out of an image: `x0, y0, x1, y1` in pixels, half-open; the whole image without a box.

        Args:
            index: place in `paths`.
            width: of the upright image in pixels.
            height: of the upright image in pixels.

        Raises:
            InputError: the box leaves the image.
        """
        box = self._box(index, width, height) if self.crop else None
        if box is None:
            return 0, 0, width, height
        x0, y0, x1, y1 = box
        dx, dy = round(self.margin * (x1 - x0)), round(self.margin * (y1 - y0))
        return max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, width), min(y1 + dy, height)

    def _box(self, index: int, width: int, height: int) -> list[int] | None:
        """Return the box of an image of this size, which must contain it; None for a whole image."""
        assert self.boxes is not None  # noqa: S101
        x0, y0, x1, y1 = box = self.boxes[index].tolist()
        if tuple(box) == NO_BOX:
            return None
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(
                f"{self.paths[index]}: its box ({x0}, {y0}, {x1}, {y1}) leaves the image of {width} x {height} "
                "pixels; if the images are cut to their boxes already, set --data.crop=false"
            )
        return box

    def _check_far_boxes(self) -> None:
        """Check the two boxes that reach furthest: images that are crops already are found without decoding all."""
        assert self.boxes is not None  # noqa: S101
        for index in {int(self.boxes[:, side].argmax()) for side in (2, 3)}:
            try:
                size = upright_size(self.paths[index])
            except DECODE_ERRORS:
                continue  # reported when the image is decoded
            self._box(index, *size)


def to_tensor(image: Image.Image) -> Tensor:
    """Turn an RGB image of H x W pixels into a uint8 tensor (3, H, W).

    Args:
        image: RGB picture of any size.
    """
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

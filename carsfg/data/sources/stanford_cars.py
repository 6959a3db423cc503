"""Stanford Cars as a plain PyTorch dataset: images, labels and boxes read from the annotation files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.image_io import DECODE_ERRORS
from carsfg.data.sources.annotations import (
    Split,
    annotation_file,
    check_labels,
    check_present,
    find_folder,
    find_images,
    read_annotations,
    read_class_names,
)
from carsfg.errors import InputError


class StanfordCars(Dataset[dict[str, Any]]):
    """One split of Stanford Cars, cropped to the annotated boxes.

    The layout is torchvision's (`ROOT/stanford_cars/{cars_train,cars_test,devkit}`); `ROOT` may be the
    `stanford_cars` folder itself, and each folder may be doubled (`cars_train/cars_train`), as in the Kaggle
    mirror.
    Source: Krause et al., "3D Object Representations for Fine-Grained Categorization", 2013.

    Args:
        root: the folder that holds `stanford_cars/`.
        split: `train` (8,144 images) or `test` (8,041 images).
        crop: cut each image to its box; `False` for images that are crops already.
        margin: fraction of the box's width and height added on each side, clipped at the image; for `crop`.
        transform: makes `"image"` of the RGB crop; without one it is a uint8 tensor (3, H, W).

    Attributes:
        folder: the folder that holds `devkit/`.
        paths: the N image files, in the annotation's order.
        labels: int64 (N,), 0-based, in the order of `class_names`.
        boxes: int64 (N, 4), `x0, y0, x1, y1` in pixels, 0-based and half-open, of the uncropped images.
        class_names: the C names in the annotation's order, which is not alphabetical.

    Raises:
        InputError: data or annotations are missing or damaged, a label has no name, a box leaves its image.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        crop: bool = True,
        margin: float = 0.0,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        if split not in ("train", "test"):
            raise InputError(f"there is no split {split!r}: use 'train' or 'test'.")
        if not 0 <= margin <= 10:
            raise InputError(f"margin is {margin}: give a fraction of the box between 0 and 10.")
        self.split, self.crop, self.margin, self.transform = split, crop, margin, transform
        self.folder = find_folder(root)
        images = find_images(self.folder, split)
        source = annotation_file(self.folder, split)
        names, self.labels, self.boxes = read_annotations(source)
        self.class_names = read_class_names(self.folder)
        self.paths = [images / name for name in names]
        check_present(images, names, source)
        check_labels(self.labels, len(self.class_names), names, source)
        if crop and names:
            self._check_far_boxes()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Give `{"image": transform(crop) or uint8 (3, H, W), "label": int, "index": int}`."""
        image = self.load(index)
        pixels = self.transform(image) if self.transform else to_tensor(image)
        return {"image": pixels, "label": int(self.labels[index]), "index": index}

    def load(self, index: int) -> Image.Image:
        """Read and crop one image, as RGB whatever the file's mode.

        Args:
            index: its place in `paths`.

        Raises:
            InputError: the file is missing, cut off or no image, or its box leaves it.
        """
        return self.decode(index, self.read(index))

    def read(self, index: int) -> bytes:
        """Read the file of one image.

        Args:
            index: its place in `paths`.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise InputError(f"{self.paths[index]} cannot be read: {error.strerror}.") from error

    def decode(self, index: int, data: bytes) -> Image.Image:
        """Make the RGB crop of image `index` from its file's bytes; errors as in `load`.

        Args:
            index: its place in `paths`.
            data: the file's bytes, as `read` gives them.
        """
        image = decode_rgb(data, self.paths[index])
        if not self.crop:
            return image
        x0, y0, x1, y1 = self._box(index, *image.size)
        dx, dy = round(self.margin * (x1 - x0)), round(self.margin * (y1 - y0))
        width, height = image.size
        return image.crop((max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, width), min(y1 + dy, height)))

    def _box(self, index: int, width: int, height: int) -> list[int]:
        """Give the box of an image of this size, which must hold it."""
        x0, y0, x1, y1 = self.boxes[index].tolist()
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(
                f"{self.paths[index]}: its box ({x0}, {y0}, {x1}, {y1}) leaves the image of {width} x {height} "
                "pixels; if the images are crops already, say so: --data.crop=false to train, --no-crop elsewhere."
            )
        return [x0, y0, x1, y1]

    def _check_far_boxes(self) -> None:
        """Look at the two boxes that reach furthest: crops given as whole images are found out at once."""
        for index in {int(self.boxes[:, side].argmax()) for side in (2, 3)}:
            try:
                with Image.open(self.paths[index]) as image:
                    size = image.size
            except DECODE_ERRORS:
                continue  # said when it is decoded
            self._box(index, *size)


def decode_rgb(data: bytes, path: Path) -> Image.Image:
    """Decode a whole image file to RGB.

    Args:
        data: the file's bytes.
        path: where they came from, for the message.

    Raises:
        InputError: the bytes are no image, or a cut-off one.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except DECODE_ERRORS as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(f"{path} is no readable image ({reason}): fetch it again.") from error


def to_tensor(image: Image.Image) -> Tensor:
    """Turn an RGB image into a uint8 tensor (3, H, W).

    Args:
        image: of H x W pixels.
    """
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

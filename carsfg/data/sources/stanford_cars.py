"""Stanford Cars as a plain PyTorch dataset: images, labels and boxes from the annotation files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from carsfg.data.class_names import hierarchy
from carsfg.data.image_io import DECODE_ERRORS, read_bytes, read_image, upright_size
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
from carsfg.data.sources.source import ImageSource
from carsfg.errors import InputError


class StanfordCars(Dataset[dict[str, Any]]):
    """One split of Stanford Cars, cropped to the annotated boxes.

    The layout is torchvision's (`ROOT/stanford_cars/{cars_train,cars_test,devkit}`); `ROOT` may be the
    `stanford_cars` folder itself, and each folder may be doubled (`cars_train/cars_train`), as in the Kaggle
    mirror. Boxes are in pixels of the upright image.
    Source: Krause et al., "3D Object Representations for Fine-Grained Categorization", 2013.

    Args:
        root: the folder that holds `stanford_cars/`.
        split: `train` (8,144 images) or `test` (8,041 images).
        crop: cut each image to its box; `False` if the images are cut already.
        margin: share of the box's width and height that is added on each side, 0 to 10; clipped at the image.
        transform: turns the RGB crop into the value of `"image"`; by default a uint8 tensor (3, H, W).

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
            raise InputError(f"unknown split {split!r}: use 'train' or 'test'")
        if not 0 <= margin <= 10:
            raise InputError(f"margin is {margin}: use a share of the box between 0 and 10")
        self.split, self.crop, self.margin, self.transform = split, crop, margin, transform
        self.folder = find_folder(root)
        images = find_images(self.folder, split)
        annotations = annotation_file(self.folder, split)
        names, self.labels, self.boxes = read_annotations(annotations)
        self.class_names = read_class_names(self.folder)
        self.paths = [images / name for name in names]
        check_present(images, names, annotations)
        check_labels(self.labels, len(self.class_names), names, annotations)
        if crop and names:
            self._check_far_boxes()

    @property
    def source(self) -> ImageSource:
        """The split as an image source, with the columns `make`, `body` and `year` from the class names."""
        attributes = {
            name: [values[group] for group in groups[self.labels].tolist()]
            for name, (values, groups) in hierarchy(self.class_names).items()
        }
        split = [self.split] * len(self)
        return ImageSource(self.paths, self.labels, self.class_names, self.boxes, split=split, attributes=attributes)

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
        if not self.crop:
            return image
        width, height = image.size
        x0, y0, x1, y1 = self._box(index, width, height)
        dx, dy = round(self.margin * (x1 - x0)), round(self.margin * (y1 - y0))
        return image.crop((max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, width), min(y1 + dy, height)))

    def _box(self, index: int, width: int, height: int) -> list[int]:
        """Return the box of an image; width and height are those of the image, which must contain it."""
        x0, y0, x1, y1 = self.boxes[index].tolist()
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(
                f"{self.paths[index]}: its box ({x0}, {y0}, {x1}, {y1}) leaves the image of {width} x {height} "
                "pixels; if the images are cut to their boxes already, set --data.crop=false"
            )
        return [x0, y0, x1, y1]

    def _check_far_boxes(self) -> None:
        """Check the two boxes that reach furthest: images that are crops already are found without decoding all."""
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

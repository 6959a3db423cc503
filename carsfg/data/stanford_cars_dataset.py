"""Stanford Cars as a plain PyTorch dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from carsfg.data.cropped_images import CroppedImages
from carsfg.data.sources.annotations import Split
from carsfg.data.sources.stanford_cars import read_stanford_cars
from carsfg.errors import InputError


class StanfordCars(CroppedImages):
    """One split of Stanford Cars, cropped to the annotated boxes; see `read_stanford_cars` for the layout.

    Args:
        root: the folder that holds `stanford_cars/`.
        split: `train` (8,144 images) or `test` (8,041 images).
        crop: cut each image to its box; `False` if the images are cut already.
        margin: share of the box's width and height that is added on each side, 0 to 10; clipped at the image.
        transform: turns the RGB crop into the value of `"image"`; by default a uint8 tensor (3, H, W).

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
        super().__init__(read_stanford_cars(root, split), split, crop, margin, transform)
        self.split = split

    @property
    def boxes(self) -> Tensor:
        """int64 (N, 4), `x0, y0, x1, y1` in pixels, 0-based and half-open, of the uncropped images."""
        assert self.source.boxes is not None  # noqa: S101
        return self.source.boxes

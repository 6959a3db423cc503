"""Box jitter: in training, each edge of an image's box moves at random, so that an inaccurate box does less harm.

Each image is also cached with a larger margin, which contains every moved box. Training samples a window of these wide
images, composed with the augmentation into one affine map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from carsfg.data.crop_cache import CropCache, open_caches
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_io import upright_size
from carsfg.data.sources.source import NO_BOX
from carsfg.data.threads import in_threads
from carsfg.errors import InputError

MAX_BOX_JITTER = 0.5  # at which the left and the right side can meet
SIDES = 4  # uniform numbers per image: left, upper, right, lower side
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BoxJitter:
    """Where the boxes lie in the wide images, and how far their sides move.

    Attributes:
        size: side of the images that training gets, in pixels.
        places: float32 (N, 4), `x0, y0, x1, y1` of each box with its margin; positions run from -1 to 1 over the wide
            image.
        reach: float32 (N, 4), how far each side moves at most, in the same unit; 0 for an image without a box.
    """

    size: int
    places: Floats
    reach: Floats

    @classmethod
    def of(cls, share: float, size: int, exact: Sequence[CroppedImages], wide: Sequence[CroppedImages]) -> "BoxJitter":
        """Locate each box in its wide image, whose margin the border of the photo may have cut off.

        Args:
            share: of the width and height of a box with its margin, by which its sides move at most.
            size: side of the images that training gets, in pixels.
            exact: the images, cut to the boxes with their margin.
            wide: the same images in the same order, cut to the wider boxes.

        Raises:
            InputError: the images have no boxes.
        """
        check_boxes(exact)
        pairs = zip(exact, wide, strict=True)
        places = np.concatenate([_places(*pair) for pair in pairs])
        has_box = np.concatenate([(one.source.boxes.numpy() != NO_BOX).any(1) for one in exact])  # type: ignore[union-attr]
        sides = np.tile(places[:, 2:] - places[:, :2], 2)
        return cls(size, places, (share * sides * has_box[:, None]).astype(np.float32))

    def windows(self, rows: npt.NDArray[np.int64], uniform: Floats) -> Floats:
        """Move the sides of the boxes of B images.

        Args:
            rows: int64 (B,), places among all images.
            uniform: float32 (B, 4), in 0..1: 0.5 leaves a side where it is; 0 moves it to the left or up, 1 to the
                right or down, as far as it moves.

        Returns:
            float32 (B, 4), as `places`; no window leaves its wide image.
        """
        moved: Floats = self.places[rows] + (2 * uniform - 1) * self.reach[rows]
        return moved.clip(-1, 1)


def within(geometry: Floats, windows: Floats) -> Floats:
    """Turn maps to positions in a window into maps to positions in the image that the window is a part of.

    Args:
        geometry: float32 (B, 2, 3), maps from positions in the result to positions in the window, see `Draws`.
        windows: float32 (B, 4), `x0, y0, x1, y1`; positions run from -1 to 1 over the image.

    Returns:
        float32 (B, 2, 3).
    """
    upper_left, lower_right = windows[:, :2], windows[:, 2:]
    maps = (lower_right - upper_left)[:, :, None] / 2 * geometry
    maps[:, :, 2] += (upper_left + lower_right) / 2
    return maps.astype(np.float32)


def wide_margin(margin: float, share: float) -> float:
    """Return the margin of the wide images, as a share of the box's side.

    Args:
        margin: share of the box's side that evaluation adds on each side, `data.margin`.
        share: of the side of a box with its margin, by which its sides move.
    """
    return margin + share * (1 + 2 * margin)


def wide_size(size: int, share: float) -> int:
    """Return the side of the stored wide images in pixels: the car has the same resolution as without jitter.

    Args:
        size: side of the images that training gets, in pixels.
        share: as for `wide_margin`.
    """
    return math.ceil(round(size * (1 + 2 * share), 6))  # 100 * 1.1 is a bit more than 110


def open_wide(wide: Sequence[CroppedImages], size: int, folder: Path) -> list[CropCache]:
    """Open the caches of the wide images, under names of their own; see `CropCache.open`.

    Args:
        wide: the images, cut to the wider boxes.
        size: side of the squares in pixels.
        folder: folder of all caches.
    """
    for one in wide:
        one.name = f"wide_{one.name}"
    return open_caches(wide, size, folder)


def check_boxes(datasets: Sequence[CroppedImages]) -> None:
    """Check that images are cut to boxes.

    Args:
        datasets: images that training would use.

    Raises:
        InputError: some are not cut, or have no boxes.
    """
    for one in datasets:
        if not one.crop:
            missing = "the images have none: add boxes to the table" if one.boxes is None else "remove data.crop=false"
            raise InputError(f"data.box_jitter needs boxes; {missing}, or set box_jitter to 0")


def _places(exact: CroppedImages, wide: CroppedImages) -> Floats:
    """Return the boxes of one data set as positions in its wide images, float32 (N, 4)."""

    def find(index: int) -> list[float]:
        size = upright_size(exact.paths[index])
        x0, y0, x1, y1 = wide.rectangle(index, *size)
        inner = exact.rectangle(index, *size)
        spans = ((x0, x1 - x0), (y0, y1 - y0)) * 2
        return [2 * (side - start) / length - 1 for side, (start, length) in zip(inner, spans, strict=True)]

    found = list(in_threads(find, len(exact), f"reading sizes of {exact.name} images"))
    return np.array(found, np.float32).reshape(-1, SIDES)

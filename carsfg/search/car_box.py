"""The car in a whole photo: the box around the most active part of the network's last feature map.

The photo goes through the network once, enlarged; its feature map says where the network sees a car, and the crop of
that part is embedded. Source: Wei et al., "Selective Convolutional Descriptor Aggregation", 2017, with two scales and
a threshold in standard deviations. The tokens of vision transformers are not used: their largest ones may lie in the
background (Darcet et al., "Vision Transformers Need Registers", 2024).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box
from carsfg.data.photo import Photo
from carsfg.data.threads import each_in_threads
from carsfg.errors import InputError
from carsfg.models.backbones import check_image_size
from carsfg.models.feature_map import keep_last_map
from carsfg.search.box_choice import BoxSource
from carsfg.tasks.network import CarsNetwork

Cells = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Fractions = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of width and height, 0..1
SCALES = (1.5, 2.0)  # sides of the squares that the whole photo is resized to, over the network's own image size
GRID = 32  # cells per side that a feature map is resampled to
# chosen on 320 drawn scenes that are neither trained on nor tested, see tests/benchmarks/car_boxes.py
THRESHOLD = 0.9  # standard deviations above the mean activation
MARGIN = 0.05  # share of width and height that is added on each side
SMALL_SHARE = 0.1  # of the photo's area: a smaller box is looked for again, in its surroundings
SURROUNDINGS = 1.0  # share of a small box's width and height that is added on each side for that
MAX_SIDE_PX = 1280  # of a photo that a box is looked for in and cut from


class BoxFinder:
    """Find the car in whole photos by the activation of a network.

    Args:
        task: network in eval mode.
        bfloat16: use bfloat16 autocast.

    Attributes:
        sizes: sides of the squares that photos are resized to, in pixels; empty if the network has no feature map, so
            that it cannot find a box.
    """

    def __init__(self, task: CarsNetwork, bfloat16: bool = False) -> None:
        self.task, self.bfloat16 = task, bfloat16
        own = task.preprocess.image_size
        wanted = [round(scale * own) for scale in SCALES]
        self.sizes = [size for size in wanted if self._gives_map(size)] or ([own] if self._gives_map(own) else [])

    def __bool__(self) -> bool:
        return bool(self.sizes)

    def _gives_map(self, size: int) -> bool:
        """Return whether the backbone takes images of that size, and makes a feature map of them."""
        try:
            with keep_last_map(self.task.backbone, token_grids=False) as maps:
                check_image_size(self.task.backbone, size, "the network")
        except InputError:
            return False
        return bool(maps)

    def find(self, photos: Sequence[Image.Image], batch_size: int = 32) -> list[Box]:
        """Return the box of the car in each photo, `x0, y0, x1, y1` in pixels, half-open.

        A box below a tenth of the photo is looked for a second time in its surroundings, where the car is larger.

        Args:
            photos: upright RGB images of any size.
            batch_size: photos per forward pass.
        """
        boxes = self._pass(photos, batch_size)
        small = [place for place, (x0, y0, x1, y1) in enumerate(boxes) if (x1 - x0) * (y1 - y0) < SMALL_SHARE]
        around = [to_pixels(widened(boxes[place], SURROUNDINGS), photos[place].size) for place in small]
        inner = self._pass([photos[place].crop(box) for place, box in zip(small, around, strict=True)], batch_size)
        found = [to_pixels(box, photo.size) for box, photo in zip(boxes, photos, strict=True)]
        for place, outer, part in zip(small, around, inner, strict=True):
            left, top = outer[:2]
            x0, y0, x1, y1 = to_pixels(part, (outer[2] - left, outer[3] - top))
            found[place] = (left + x0, top + y0, left + x1, top + y1)
        return found

    def _pass(self, photos: Sequence[Image.Image], batch_size: int) -> list[Fractions]:
        boxes = []
        for start in range(0, len(photos), batch_size):
            some = photos[start : start + batch_size]
            active = torch.stack([self._activation(some, size) for size in self.sizes]).mean(0)
            boxes += [widened(active_box(one, THRESHOLD), MARGIN) for one in active.numpy()]
        return boxes

    @torch.no_grad()
    def _activation(self, photos: Sequence[Image.Image], size: int) -> Tensor:
        """Return the standardised activation of photos that are resized to squares, float (B, GRID, GRID)."""
        device = self.task.device
        images = torch.stack(each_in_threads(lambda photo: to_square(photo, size), photos)).to(device)
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16),
            keep_last_map(self.task.backbone, token_grids=False) as maps,
        ):
            self.task.backbone(self.task.preprocess.normalise(images))
        return resampled(activation(maps[0].float().cpu()))


def shrink(photo: Photo) -> Photo:
    """Return a photo of at most 1280 pixels on its longer side, so that many of them fit into memory.

    Args:
        photo: of any size; a smaller one is returned unchanged.
    """
    if max(photo.image.size) <= MAX_SIDE_PX:
        return photo
    small = photo.image.copy()
    small.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BILINEAR)
    return Photo(small, photo.size)


def cut(finder: BoxSource, photos: Sequence[Photo]) -> list[tuple[Image.Image, Box | None]]:
    """Find the car in photos, and cut each to it; gallery images and queries are cut by this function alike.

    Args:
        finder: `BoxFinder` or `Detector`.
        photos: of any size; they are shrunk first, see `shrink`.

    Returns:
        The part inside the box and the box in pixels of the file, half-open; the shrunk photo and None where no car
        was found.
    """
    small = [shrink(photo) for photo in photos]
    results: list[tuple[Image.Image, Box | None]] = []
    for photo, box in zip(small, finder.find([one.image for one in small]), strict=True):
        if box is None:
            results.append((photo.image, None))
            continue
        (x0, y0, x1, y1), (width, height) = box, photo.image.size
        parts = (x0 / width, y0 / height, x1 / width, y1 / height)
        results.append((photo.image.crop(box), to_pixels(parts, photo.size)))
    return results


def activation(maps: Tensor) -> Tensor:
    """Return the mean over channels of the positive values, float (B, h, w).

    Args:
        maps: last feature maps, float (B, C, h, w).
    """
    return maps.clamp(min=0).mean(1)


def resampled(maps: Tensor, cells: int = GRID) -> Tensor:
    """Bring each map to mean 0 and standard deviation 1, and resample it to a finer grid over the whole image.

    Args:
        maps: float (B, h, w); a constant map becomes 0.
        cells: per side of the result.

    Returns:
        Bilinear interpolation, float (B, cells, cells); beyond the outermost centres the outermost value.
    """
    mean, deviation = maps.mean((1, 2), keepdim=True), maps.std((1, 2), keepdim=True, unbiased=False)
    standard = (maps - mean) / deviation.clamp(min=1e-12)
    return functional.interpolate(standard[:, None], (cells, cells), mode="bilinear", align_corners=False)[:, 0]


def active_box(values: npt.NDArray[np.floating], threshold: float) -> Fractions:
    """Return the box around the connected cells above a threshold that hold the most activation.

    Args:
        values: activation, float (h, w).
        threshold: cells at or above it are active; connected ones share an edge.

    Returns:
        Box as shares of width and height; the whole map if no cell is active.
    """
    parts = connected(values >= threshold)
    if not parts:
        return 0.0, 0.0, 1.0, 1.0
    rows, columns = max(parts, key=lambda cells: float((values[cells] - threshold).sum()))
    height, width = values.shape
    return (
        int(columns.min()) / width,
        int(rows.min()) / height,
        (int(columns.max()) + 1) / width,
        (int(rows.max()) + 1) / height,
    )


def connected(active: npt.NDArray[np.bool_]) -> list[Cells]:
    """Return the connected parts of a small map, in the order of their first cells; connected cells share an edge.

    Args:
        active: bool (h, w).

    Returns:
        Rows and columns of the cells of each part, int64 (n,) each.
    """
    left, parts = {(row, column) for row, column in np.argwhere(active).tolist()}, []
    for first in sorted(left):
        if first not in left:
            continue
        left.remove(first)
        cells = [first]
        for row, column in cells:  # which grows meanwhile
            around = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)} & left
            left -= around
            cells += sorted(around)
        rows, columns = np.array(cells).T
        parts.append((rows, columns))
    return parts


def widened(box: Fractions, margin: float) -> Fractions:
    """Add a margin on each side of a box, clipped to 0..1.

    Args:
        box: as shares of width and height.
        margin: share of the box's width and height.
    """
    x0, y0, x1, y1 = box
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    return max(x0 - dx, 0.0), max(y0 - dy, 0.0), min(x1 + dx, 1.0), min(y1 + dy, 1.0)


def to_pixels(box: Fractions, size: tuple[int, int]) -> Box:
    """Return a box in whole pixels, at least one wide and high, inside the image.

    Args:
        box: as shares of width and height, 0..1.
        size: width and height of the image in pixels.
    """
    (x0, y0, x1, y1), (width, height) = box, size
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return left, top, max(round(x1 * width), left + 1), max(round(y1 * height), top + 1)

"""Augmentation recipes for training images.

Random crop, mirroring and rotation are composed to one affine map, so that an image is resampled once; all colour
changes are composed to one affine map of RGB. Both are computed from uniform random numbers per image, so the same
draws work for single images on the CPU and for batches on a GPU.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from carsfg.errors import InputError

DRAWS = 9  # uniform numbers per image: crop x and y, mirror, angle, brightness, contrast, saturation, hue, zoom
Uniform = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
LARGEST = {"degrees": 180, "brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5}  # values of a recipe
LUMA = np.array([0.299, 0.587, 0.114])  # of RGB, ITU-R BT.601
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Recipe:
    """Ranges that the augmentation of a training image is drawn from, each uniformly. The defaults change nothing.

    In YAML: `data.augment: {crop: [0.5, 1.0], flip: true, degrees: 10}`.

    Attributes:
        crop: smallest and largest side of the square random crop, as a share of the image's side, above 0 and up to 1;
            the crop is enlarged to the whole side again.
        flip: mirror half of the images.
        degrees: largest rotation to either side about the crop's centre, 0 to 180; what lies outside the image is
            black.
        brightness: largest relative change of the image's brightness, 0 to 1: a factor within 1 - b and 1 + b.
        contrast: largest relative change of the distance to the image's mean grey, 0 to 1.
        saturation: largest relative change of the distance to each pixel's grey, 0 to 1.
        hue: largest rotation about the grey axis to either side, in turns, 0 to 0.5.
    """

    crop: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    degrees: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def check(self) -> None:
        """Check the ranges; not on construction, where jsonargparse would bury the message in its own.

        Raises:
            InputError: a value is out of its range.
        """
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise InputError(f"data.augment.crop is {list(self.crop)}: use two shares, 0 < smallest <= largest <= 1")
        for name, largest in LARGEST.items():
            if not 0 <= getattr(self, name) <= largest:
                raise InputError(f"data.augment.{name} is {getattr(self, name)}: use 0 to {largest}")

    @property
    def changes_colours(self) -> bool:
        """Whether any colour may change."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))


RECIPES: dict[str, Recipe | None] = {
    "none": None,
    # the paper's transfer learning: RandomCrop (224 of 256), HorizontalFlip, Rotation(15)
    "crop_flip_rotate": Recipe(crop=(7 / 8, 7 / 8), flip=True, degrees=15),
    # the paper's CNN: RandomCrop, HorizontalFlip, ColorJitter
    "crop_flip_jitter": Recipe(crop=(7 / 8, 7 / 8), flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
    # carsfg's own
    "zoom_flip_rotate_jitter": Recipe(
        crop=(0.75, 1.0), flip=True, degrees=8, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03
    ),
}


class Draws(NamedTuple):
    """The augmentation drawn for B images.

    Attributes:
        geometry: float32 (B, 2, 3), affine maps from positions in the result to positions in the image; both run from
            -1 to 1 over the side.
        colour: float32 (B, 3, 4), a matrix on RGB and a column that is multiplied by the image's mean grey; None if
            colours do not change.
    """

    geometry: npt.NDArray[np.float32]
    colour: npt.NDArray[np.float32] | None


def recipe(augment: str | Recipe) -> Recipe | None:
    """Return the recipe of a `data.augment` value; None if it changes nothing.

    Args:
        augment: name of one of `RECIPES`, or a recipe.

    Raises:
        InputError: the recipe is unknown, or a value is out of its range.
    """
    if isinstance(augment, Recipe):
        augment.check()
        return None if augment == Recipe() else augment
    if augment not in RECIPES:
        raise InputError(
            f"unknown data.augment {augment!r}: use {', '.join(RECIPES)}, or a mapping such as {{flip: true}}"
        )
    return RECIPES[augment]


def describe_recipe(augment: str | Recipe) -> str | dict[str, Any]:
    """Return a `data.augment` value as JSON: equal recipes give equal values, however they were written.

    Args:
        augment: name of one of `RECIPES`, or a recipe.

    Returns:
        The name if a named recipe has the same values, else the values that differ from the defaults.

    Raises:
        InputError: the recipe is unknown, or a value is out of its range.
    """
    found = recipe(augment)
    named = [name for name, one in RECIPES.items() if one == found]
    if named or found is None:
        return named[0]
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(found).items()}
    return {key: value for key, value in values.items() if getattr(Recipe(), key) != getattr(found, key)}


def draw(recipe: Recipe, uniform: Uniform) -> Draws:
    """Compute the augmentation of B images from uniform random numbers.

    Args:
        recipe: ranges from which crop, angle, flip and colours are drawn.
        uniform: float32 (B, 9), in 0..1; one row per image.
    """
    u = uniform.astype(np.float64).T
    spread = [2 * row - 1 for row in u]  # -1..1
    least, most = recipe.crop
    kept = least + (most - least) * u[8]
    angle, slack = np.radians(recipe.degrees) * spread[3], 1 - kept
    mirror = np.where(recipe.flip & (u[2] < 0.5), -1.0, 1.0)
    cos, sin = kept * np.cos(angle), kept * np.sin(angle)
    across = np.stack([mirror * cos, -mirror * sin, slack * spread[0]], -1)
    down = np.stack([sin, cos, slack * spread[1]], -1)
    geometry = np.stack([across, down], 1).astype(np.float32)
    return Draws(geometry, _colours(recipe, spread[4:8]).astype(np.float32) if recipe.changes_colours else None)


def _colours(recipe: Recipe, spread: list[Floats]) -> Floats:
    """Compose hue, saturation, brightness and contrast, in this order, to (B, 3, 4)."""
    ranges = (recipe.brightness, recipe.contrast, recipe.saturation)
    brightness, contrast, saturation = ((1 + r * s)[:, None, None] for r, s in zip(ranges, spread, strict=False))
    turn = 2 * np.pi * recipe.hue * spread[3]
    rotation = np.zeros((len(turn), 3, 3))
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = np.cos(turn)
    rotation[:, 2, 1] = np.sin(turn)
    rotation[:, 1, 2] = -rotation[:, 2, 1]
    hue = np.linalg.inv(TO_YIQ) @ rotation @ TO_YIQ
    saturate = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
    matrix = brightness * contrast * (saturate @ hue)
    offset = np.broadcast_to(brightness * (1 - contrast), (len(turn), 3, 1))
    return np.concatenate([matrix, offset], 2)


def apply_on_cpu(images: npt.NDArray[np.uint8], draws: Draws, size: int) -> npt.NDArray[np.uint8]:
    """Augment images one by one in integer arithmetic, which is faster on CPUs than batches of floats.

    Args:
        images: uint8 (B, S, S, 3), RGB.
        draws: draws for the B images.
        size: side of the results in pixels.

    Returns:
        uint8 (B, size, size, 3).
    """
    side = images.shape[1]
    # from -1..1 over the side to pixel centres at 0, 1, ..
    maps = draws.geometry.astype(np.float64)
    maps[:, :, :2] *= side / size
    maps[:, :, 2] = (side - 1) / 2 + side / 2 * maps[:, :, 2] - (size - 1) / 2 * maps[:, :, :2].sum(2)
    out = np.empty((len(images), size, size, 3), np.uint8)
    for image, pixels, result in zip(images, maps, out, strict=True):
        cv2.warpAffine(image, pixels, (size, size), dst=result, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if draws.colour is not None:
        for result, colour in zip(out, draws.colour, strict=True):
            grey = float(np.dot(cv2.mean(result)[:3], LUMA))
            cv2.transform(result, colour * (1, 1, 1, grey), dst=result)
    return out


def apply_on_device(images: Tensor, geometry: Tensor, colour: Tensor | None, size: int) -> Tensor:
    """Augment images as one batch.

    Args:
        images: (B, 3, S, S), RGB, uint8 or float in 0..255, on the device that computes.
        geometry: float (B, 2, 3), geometry of `Draws`, on the same device.
        colour: float (B, 3, 4), colour of `Draws`, on the same device; None if colours do not change.
        size: side of the results in pixels.

    Returns:
        float (B, 3, size, size), in 0..255.
    """
    grid = functional.affine_grid(geometry, [*images.shape[:2], size, size], align_corners=False)
    warped = functional.grid_sample(images.to(grid.dtype), grid, align_corners=False)
    if colour is None:
        return warped
    luma = torch.as_tensor(LUMA, dtype=grid.dtype, device=images.device)
    grey = warped.mean((2, 3)) @ luma
    turned = torch.einsum("bdc,bchw->bdhw", colour[:, :, :3], warped)
    return (turned + (colour[:, :, 3] * grey[:, None])[:, :, None, None]).clamp(0, 255)

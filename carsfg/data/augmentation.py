"""Augmentation recipes by name: what may happen to a training image before the network sees it.

Crop, mirror and rotation are composed to one affine map and resampled once; colour is one affine map of RGB. Both are
drawn for each image from uniform numbers alone, so the same draws serve images on the CPU, one by one, and batches on a
GPU.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from carsfg.errors import InputError

DRAWS = 9  # uniform numbers an image: crop x and y, mirror, angle, brightness, contrast, saturation, hue, zoom
Uniform = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
LUMA = np.array([0.299, 0.587, 0.114])  # of RGB, ITU-R BT.601
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Recipe:
    """The ranges that an image's augmentation is drawn from, each uniformly.

    Attributes:
        crop: share of the side that a random square crop keeps, at least and at most, before it is enlarged to the
            whole side again.
        flip: mirror half of the images.
        degrees: rotation to either side, about the crop's centre; what comes from outside the image is black.
        brightness: factor on the whole image, within 1 - b and 1 + b.
        contrast: factor on the distance to the image's mean grey, likewise.
        saturation: factor on the distance to each pixel's grey, likewise.
        hue: rotation about the grey axis to either side, in turns.
    """

    crop: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    degrees: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    @property
    def recolours(self) -> bool:
        """Whether colours change at all."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))


RECIPES: dict[str, Recipe | None] = {
    "none": None,
    # the report's transfer learning: RandomCrop (224 of 256), HorizontalFlip, Rotation(15)
    "crop_flip_rotate": Recipe(crop=(7 / 8, 7 / 8), flip=True, degrees=15),
    # the report's CNN: RandomCrop, HorizontalFlip, ColorJitter
    "crop_flip_jitter": Recipe(crop=(7 / 8, 7 / 8), flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
    # ours
    "zoom_flip_rotate_jitter": Recipe(
        crop=(0.75, 1.0), flip=True, degrees=8, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03
    ),
}


class Draws(NamedTuple):
    """What was drawn for B images.

    Attributes:
        geometry: float32 (B, 2, 3), from places in the result to places in the image, both in -1..1 over the side.
        colour: float32 (B, 3, 4), the matrix on RGB, and a column that is multiplied by the image's mean grey; None
            where colours stay.
    """

    geometry: npt.NDArray[np.float32]
    colour: npt.NDArray[np.float32] | None


def recipe_named(name: str) -> Recipe | None:
    """Return the recipe of that name, or None for `none`.

    Args:
        name: one of `RECIPES`.

    Raises:
        InputError: no recipe has that name.
    """
    if name not in RECIPES:
        raise InputError(f"unknown data.augment {name!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]


def draw(recipe: Recipe, uniform: Uniform) -> Draws:
    """Turn uniform numbers in 0..1, (B, 9), into what happens to B images.

    Args:
        recipe: the ranges.
        uniform: float32 (B, 9), in 0..1; one row an image.
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
    return Draws(geometry, _colours(recipe, spread[4:8]).astype(np.float32) if recipe.recolours else None)


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


def apply_on_cpu(images: npt.NDArray[np.uint8], draws: Draws) -> npt.NDArray[np.uint8]:
    """Augment uint8 RGB (B, S, S, 3) one by one, in whole numbers: on CPUs that is faster than a batch of floats.

    Args:
        images: uint8 (B, S, S, 3).
        draws: of the B images.
    """
    size = images.shape[1]
    # from -1..1 over the side to pixel centres at 0, 1, ..
    centre = (size - 1) / 2
    maps = draws.geometry.astype(np.float64)
    maps[:, :, 2] = centre + size / 2 * maps[:, :, 2] - centre * maps[:, :, :2].sum(2)
    out = np.empty_like(images)
    for image, pixels, result in zip(images, maps, out, strict=True):
        cv2.warpAffine(image, pixels, (size, size), dst=result, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if draws.colour is not None:
        for result, colour in zip(out, draws.colour, strict=True):
            grey = float(np.dot(cv2.mean(result)[:3], LUMA))
            cv2.transform(result, colour * (1, 1, 1, grey), dst=result)
    return out


def apply_on_device(images: Tensor, geometry: Tensor, colour: Tensor | None) -> Tensor:
    """Augment RGB (B, 3, S, S), uint8 or float in 0..255, as one batch; returns float in 0..255.

    Args:
        images: (B, 3, S, S), on the device that computes.
        geometry: float (B, 2, 3), as `Draws` has it, on the same device.
        colour: float (B, 3, 4), likewise; None where colours stay.
    """
    grid = functional.affine_grid(geometry, list(images.shape), align_corners=False)
    warped = functional.grid_sample(images.to(grid.dtype), grid, align_corners=False)
    if colour is None:
        return warped
    luma = torch.as_tensor(LUMA, dtype=grid.dtype, device=images.device)
    grey = warped.mean((2, 3)) @ luma
    turned = torch.einsum("bdc,bchw->bdhw", colour[:, :, :3], warped)
    return (turned + (colour[:, :, 3] * grey[:, None])[:, :, None, None]).clamp(0, 255)

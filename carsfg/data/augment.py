"""Augmentation recipes by name: what may happen to a training image before the network sees it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from carsfg.errors import InputError

Augment = Callable[[Tensor], Tensor]


def build_augment(recipe: str, image_size: int) -> Augment | None:
    """Return the recipe of that name, or None for `none`.

    Args:
        recipe: one of `RECIPES`.
        image_size: side of the square images, in pixels; they leave as they came, uint8 (3, image_size, image_size).

    Raises:
        InputError: no recipe has that name.
    """
    if recipe not in RECIPES:
        raise InputError(f"unknown data.augment {recipe!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[recipe](image_size)


def augment_seeded(augment: Augment, image: Tensor, seed: int) -> Tensor:
    """Apply a recipe with its own seed, leaving torch's random state as it was.

    An image's draw then depends on run, epoch and image alone: not on the worker, nor on what was loaded before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return augment(image)


def _random_crop(size: int) -> v2.Transform:
    """Enlarge by 8/7 and cut a random square of the old size out, as Resize(256) and RandomCrop(224) do."""
    return v2.Compose([v2.Resize(round(size * 8 / 7), antialias=True), v2.RandomCrop(size)])


def _crop_flip_rotate(size: int) -> v2.Transform:
    rotate = v2.RandomRotation(15, interpolation=InterpolationMode.BILINEAR)
    return v2.Compose([_random_crop(size), v2.RandomHorizontalFlip(), rotate])


def _crop_flip_jitter(size: int) -> v2.Transform:
    jitter = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    return v2.Compose([_random_crop(size), v2.RandomHorizontalFlip(), jitter])


RECIPES: dict[str, Callable[[int], Augment | None]] = {
    "none": lambda _: None,
    "crop_flip_rotate": _crop_flip_rotate,  # the report's transfer learning: RandomCrop, HorizontalFlip, Rotation(15)
    "crop_flip_jitter": _crop_flip_jitter,  # the report's CNN: RandomCrop, HorizontalFlip, ColorJitter
}

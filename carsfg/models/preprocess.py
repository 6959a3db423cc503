"""From uint8 RGB to the input of a network: the one place where images are resized and normalised."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from carsfg.errors import InputError

Interpolation = Literal["bilinear", "bicubic"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocess(nn.Module):
    """Resize to a square and normalise; mean and standard deviation are buffers, so a checkpoint holds them.

    Args:
        image_size: side of the network's input in pixels.
        interpolation: how to resize, with antialiasing; images of that size are not resized.
        mean: of RGB scaled to 0..1, per channel.
        std: standard deviation of RGB scaled to 0..1, per channel, above 0.

    Raises:
        InputError: mean or std are not three numbers, or a std is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int = 224,
        interpolation: Interpolation = "bilinear",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise InputError(f"model.{name} is {list(values)}: give three numbers, one per RGB channel in 0..1")
        if min(std) <= 0:
            raise InputError(f"model.std is {list(std)}: give three numbers above 0, images are divided by them")
        self.image_size = image_size
        self.interpolation = interpolation
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images, float (B, 3, image_size, image_size).

        Args:
            images: RGB (B, 3, H, W) of any size, uint8 or float in 0..255.
        """
        images = images.to(self.mean.dtype)
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = functional.interpolate(images, size, mode=self.interpolation, antialias=True)
            images = images.clamp(0, 255)  # bicubic overshoots
        return self.normalise(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images of any size minus the mean, over the standard deviation, float (B, 3, H, W).

        Args:
            images: RGB (B, 3, H, W), uint8 or float in 0..255.
        """
        images = images.to(self.mean.dtype)
        # as rows of R G B R G B ..: broadcasting along contiguous memory is ten times as fast as broadcasting 3 numbers
        rows = images.permute(0, 2, 3, 1).flatten(2)
        mean, scale = (value.flatten().repeat(images.shape[3]) for value in (self.mean, 1 / self.std))
        return (rows - mean).mul_(scale).view(*images.shape[:1], *images.shape[2:], 3).permute(0, 3, 1, 2)

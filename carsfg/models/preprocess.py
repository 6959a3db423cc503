"""From uint8 RGB to what a network takes: the one place where images are resized and normalised."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocess(nn.Module):
    """Resize to a square and normalise; mean and deviation travel in the checkpoint as buffers.

    Args:
        image_size: side of the network's input, in pixels.
        interpolation: how to resize, with antialiasing; images of that size already are left untouched.
        mean: per channel, of RGB scaled to 0..1.
        std: per channel, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        image_size: int = 224,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.interpolation = interpolation
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Turn RGB (B, 3, H, W), uint8 or float in 0..255, into normalised float (B, 3, image_size, image_size).

        Args:
            images: (B, 3, H, W), of any size.
        """
        images = images.to(self.mean.dtype)
        if images.shape[-2:] != (self.image_size, self.image_size):
            size = (self.image_size, self.image_size)
            images = functional.interpolate(images, size, mode=self.interpolation, antialias=True)
            images = images.clamp(0, 255)  # bicubic overshoots
        # as rows of R G B R G B ..: a broadcast along contiguous memory is ten times as fast as one of three numbers
        rows = images.permute(0, 2, 3, 1).flatten(2)
        mean, scale = (value.flatten().repeat(images.shape[3]) for value in (self.mean, 1 / self.std))
        return (rows - mean).mul_(scale).view(*images.shape[:1], *images.shape[2:], 3).permute(0, 3, 1, 2)

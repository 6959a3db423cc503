"""The custom CNN: blocks of 3x3 convolutions and max-pooling; the report's networks and ours are settings."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from carsfg.errors import InputError
from carsfg.models.pooling import make_pooling

CnnPooling = Literal["average", "max", "gem", "flatten"]


class Unit(nn.Module):
    """Convolutions of 3x3, each with BatchNorm if asked for and ReLU.

    Args:
        inputs: channels that come in.
        width: channels that go out.
        convolutions: how many.
        batch_norm: normalise after each.
        residual: add what comes in, through a 1x1 convolution where the width changes, before the last ReLU.
    """

    def __init__(self, inputs: int, width: int, convolutions: int, batch_norm: bool, residual: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inputs, *[width] * (convolutions - 1)):
            layers += [*convolution(channels, width, 3, batch_norm), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module | None = None
        if residual:
            same = inputs == width
            self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, width, 1, batch_norm))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, width, H, W).

        Args:
            x: float (B, inputs, H, W).
        """
        y = self.convolutions(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return self.relu(y)  # type: ignore[no-any-return]


class CustomCNN(nn.Module):
    """A small network to train from random weights.

    Args:
        widths: channels of each block; there are as many blocks.
        units: units in each block, or in each of them.
        convolutions: 3x3 convolutions a unit.
        batch_norm: BatchNorm after each convolution.
        residual: a shortcut around each unit.
        stem: stride of a first convolution, 3x3 at stride 2 or stride x stride patches above, as wide as the first
            block; 1 for none.
        pooling: how the last block's maps become the embedding: their `average`, `max` or generalised mean (`gem`), or
            `flatten`ed as they are, the last block halved like the others.
        he_init: He initialisation, normal and by fan-out (He et al. 2015); else PyTorch's default.
        image_size: side of the images, in pixels; decides the embedding's width where maps are flattened.

    Raises:
        InputError: a number is out of its range, or the image is too small for so many halvings.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        units: int | Sequence[int] = 1,
        convolutions: int = 1,
        batch_norm: bool = True,
        residual: bool = False,
        stem: int = 1,
        pooling: CnnPooling = "average",
        he_init: bool = True,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        each = [units] * len(widths) if isinstance(units, int) else list(units)
        if not widths or len(each) != len(widths) or min(*widths, *each, convolutions, stem) < 1:
            raise InputError("a CNN needs widths, as many units, convolutions and a stem, all of them 1 or more")
        halvings = len(widths) - (pooling != "flatten")
        side = ((image_size + 1) // 2 if stem == 2 else image_size // stem) >> halvings  # after padding, or without
        if side < 1:
            raise InputError(f"images of {image_size} pixels are too small for {len(widths)} blocks: set fewer widths")
        kernel = 3 if stem == 2 else stem
        first = [] if stem == 1 else [*convolution(3, widths[0], kernel, batch_norm, stem), nn.ReLU()]
        self.stem = nn.Sequential(*first)
        blocks: list[nn.Module] = []
        channels = widths[0] if first else 3
        for place, (width, count) in enumerate(zip(widths, each, strict=True)):
            for inputs in (channels, *[width] * (count - 1)):
                blocks.append(Unit(inputs, width, convolutions, batch_norm, residual))
            if place < halvings:
                blocks.append(nn.MaxPool2d(2))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.avgpool = nn.Identity() if pooling == "flatten" else make_pooling(pooling)
        self.width = widths[-1] * (side**2 if pooling == "flatten" else 1)
        if he_init:
            self.apply(_he)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to embeddings (B, width).

        Args:
            images: float (B, 3, H, W), normalised; of `image_size` where maps are flattened.
        """
        return self.avgpool(self.blocks(self.stem(images))).flatten(1)  # type: ignore[no-any-return]


def convolution(inputs: int, width: int, kernel: int, batch_norm: bool, stride: int = 1) -> list[nn.Module]:
    """Return a convolution, padded where windows overlap, with BatchNorm or else a bias.

    Args:
        inputs: channels that come in.
        width: channels that go out.
        kernel: side of the window, in pixels.
        batch_norm: BatchNorm after it, in place of a bias.
        stride: in pixels.
    """
    padding = kernel // 2 if stride < kernel else 0
    layer = nn.Conv2d(inputs, width, kernel, stride, padding, bias=not batch_norm)
    return [layer, nn.BatchNorm2d(width)] if batch_norm else [layer]


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""The custom CNN: blocks of 3x3 convolutions and max-pooling; the paper's networks and ours are settings of it."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from carsfg.errors import InputError
from carsfg.models.pooling import make_pooling

CnnPooling = Literal["average", "max", "gem", "flatten"]


class Unit(nn.Module):
    """3x3 convolutions, each followed by optional BatchNorm and ReLU.

    Args:
        inputs: number of channels of the incoming feature map.
        width: output channels.
        convolutions: how many 3 x 3 convolutions are applied in sequence.
        batch_norm: BatchNorm after each convolution.
        residual: add the input before the last ReLU, through a 1x1 convolution if the width changes.
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

    Blocks of units; max-pooling after each block but the last halves the maps.

    Args:
        widths: channels per block; their number is the number of blocks.
        units: units per block, one number for all blocks or one per block.
        convolutions: 3x3 convolutions per unit.
        batch_norm: BatchNorm after each convolution.
        residual: a shortcut around each unit.
        stem: stride of an additional first convolution, as wide as the first block: 3x3 for stride 2, patches of
            stride x stride above 2; 1 for none.
        pooling: how the last maps become the embedding: `average`, `max` or generalised mean (`gem`), or `flatten`,
            with max-pooling after the last block as well.
        he_init: He initialisation, normal and by fan-out (He et al. 2015); otherwise PyTorch's default.
        image_size: side of the images in pixels; with `flatten` it decides the width of the embedding.

    Raises:
        InputError: a number is out of its range, or the images are too small for that many halvings.
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
        side = ((image_size + 1) // 2 if stem == 2 else image_size // stem) >> halvings
        if side < 1:
            raise InputError(f"images of {image_size} pixels are too small for {len(widths)} blocks: set fewer widths")
        kernel = 3 if stem == 2 else stem
        first = [] if stem == 1 else [*convolution(3, widths[0], kernel, batch_norm, stem), nn.ReLU()]
        self.stem = nn.Sequential(*first)
        blocks: list[nn.Module] = []
        channels = widths[0] if first else 3
        for position, (width, count) in enumerate(zip(widths, each, strict=True)):
            for inputs in (channels, *[width] * (count - 1)):
                blocks.append(Unit(inputs, width, convolutions, batch_norm, residual))
            if position < halvings:
                blocks.append(nn.MaxPool2d(2))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.avgpool = nn.Identity() if pooling == "flatten" else make_pooling(pooling)
        self.width = widths[-1] * (side**2 if pooling == "flatten" else 1)
        if he_init:
            self.apply(_he)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to features (B, width).

        Args:
            images: float (B, 3, H, W), normalised; with `flatten`, H = W = image_size.
        """
        return self.avgpool(self.blocks(self.stem(images))).flatten(1)  # type: ignore[no-any-return]


def convolution(inputs: int, width: int, kernel: int, batch_norm: bool, stride: int = 1) -> list[nn.Module]:
    """Return a convolution, padded if its windows overlap, and its BatchNorm if wanted.

    Args:
        inputs: number of channels of the incoming feature map.
        width: output channels.
        kernel: side of the window in pixels.
        batch_norm: BatchNorm after the convolution, instead of a bias.
        stride: step between output positions, in pixels of the input.
    """
    padding = kernel // 2 if stride < kernel else 0
    layer = nn.Conv2d(inputs, width, kernel, stride, padding, bias=not batch_norm)
    return [layer, nn.BatchNorm2d(width)] if batch_norm else [layer]


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

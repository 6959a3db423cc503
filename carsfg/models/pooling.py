"""Pooling: how a network's last maps become one vector."""

from typing import Literal

import torch
from torch import Tensor, nn

from carsfg.errors import InputError

Pooling = Literal["average", "max", "gem"]


class GeneralizedMean(nn.Module):
    """Generalised mean (Radenovic et al. 2018): the p-th root of the mean of p-th powers, p learned.

    Args:
        exponent: p to start from; 1 is the average, infinity the maximum.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 1, 1); what is below 1e-6 counts as 1e-6.

        Args:
            maps: (B, C, H, W); they are computed with in float32.
        """
        powers = maps.float().clamp(min=1e-6).pow(self.exponent)
        return powers.mean((2, 3), keepdim=True).pow(1 / self.exponent)


def make_pooling(name: Pooling) -> nn.Module:
    """Return a module that maps (B, C, H, W) to (B, C, 1, 1).

    Args:
        name: `average`, `max` or `gem`.
    """
    kinds = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
    return GeneralizedMean() if name == "gem" else kinds[name](1)


class PooledFeatures(nn.Module):
    """A torchvision network that pools its `features` by a function, with a module in that place.

    Args:
        features: the network's own.
        pool: maps (B, C, H, W) to (B, C, 1, 1).
    """

    def __init__(self, features: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.features, self.avgpool = features, pool

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to embeddings (B, C).

        Args:
            images: float (B, 3, H, W), normalised.
        """
        # DenseNet's maps pass a ReLU there; those of the others end in one
        return self.avgpool(torch.relu(self.features(images))).flatten(1)  # type: ignore[no-any-return]


def with_pooling(backbone: nn.Module, name: Pooling) -> nn.Module:
    """Put a pooling in the place of a torchvision backbone's average; names in its state_dict stay as they are.

    Args:
        backbone: a network as `build_backbone` makes it.
        name: `average` leaves it as it is.

    Raises:
        InputError: the network has no average over whole maps that could be replaced.
    """
    if name == "average":
        return backbone
    own = getattr(backbone, "avgpool", None)
    if isinstance(own, nn.AdaptiveAvgPool2d) and own.output_size in (1, (1, 1)):
        backbone.avgpool = make_pooling(name)
        return backbone
    of_timm = getattr(backbone, "global_pool", None) or getattr(getattr(backbone, "head", None), "global_pool", None)
    if isinstance(getattr(of_timm, "pool", None), nn.AdaptiveAvgPool2d) and name != "gem":  # maps may be negative
        of_timm.pool = make_pooling(name)  # type: ignore[union-attr]
        return backbone
    if type(backbone).__name__ in ("DenseNet", "MobileNetV2"):
        return PooledFeatures(backbone.features, make_pooling(name))  # type: ignore[arg-type]
    raise InputError(f"the pooling of a {type(backbone).__name__} cannot be replaced: set model.pooling: null")

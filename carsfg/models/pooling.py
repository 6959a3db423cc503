"""Pooling: how the last feature maps of a network become one vector."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from carsfg.errors import InputError

Pooling = Literal["average", "max", "gem"]


class GeneralizedMean(nn.Module):
    """Generalised mean, GeM (Radenovic et al. 2018): the p-th root of the mean of p-th powers; p is learned.

    Args:
        exponent: initial p; 1 is the average, infinity the maximum.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 1, 1), in float32; values below 1e-6 count as 1e-6.

        Args:
            maps: float (B, C, H, W), not negative.
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
    """A torchvision network that pools its `features` by a function, with a module instead of the function.

    Args:
        features: layers that map images to feature maps (B, W, H, W).
        pool: maps (B, C, H, W) to (B, C, 1, 1).
    """

    def __init__(self, features: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.features, self.avgpool = features, pool

    def forward(self, images: Tensor) -> Tensor:
        """Map images to features (B, C).

        Args:
            images: float (B, 3, H, W), normalised.
        """
        # DenseNet applies a ReLU between features and pooling; the features of the other networks end in one
        return self.avgpool(torch.relu(self.features(images))).flatten(1)  # type: ignore[no-any-return]


def with_pooling(backbone: nn.Module, name: Pooling) -> nn.Module:
    """Replace the average pooling of a backbone; the names in its state_dict stay.

    Args:
        backbone: a network made by `build_backbone`.
        name: of the new pooling; for `average` the backbone is returned unchanged.

    Raises:
        InputError: the network has no average over whole maps.
    """
    if name == "average":
        return backbone
    own = getattr(backbone, "avgpool", None)
    if isinstance(own, nn.AdaptiveAvgPool2d) and own.output_size in (1, (1, 1)):
        backbone.avgpool = make_pooling(name)
        return backbone
    of_timm = getattr(backbone, "global_pool", None) or getattr(getattr(backbone, "head", None), "global_pool", None)
    if isinstance(getattr(of_timm, "pool", None), nn.AdaptiveAvgPool2d):
        of_timm.pool = make_pooling(name)  # type: ignore[union-attr]
        return backbone
    if type(backbone).__name__ in ("DenseNet", "MobileNetV2"):
        return PooledFeatures(backbone.features, make_pooling(name))  # type: ignore[arg-type]
    raise InputError(f"the pooling of a {type(backbone).__name__} cannot be replaced: set model.pooling: null")


@contextlib.contextmanager
def refuse_negative_maps(backbone: nn.Module, name: str) -> Iterator[None]:
    """Watch the input of GeM pooling while images pass through a backbone inside the context.

    Networks that end in ReLU give maps of 0 and more. Others, such as ConvNeXt and EfficientNet, do not: GeM would set
    about half of their values to 1e-6.

    Args:
        backbone: any network; one without GeM pooling is never refused.
        name: of the network, for the message.

    Raises:
        InputError: on leaving the context, if a map had negative values.
    """
    lowest: list[float] = []

    def watch(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        lowest.append(float(inputs[0].min()))

    pools = [module for module in backbone.modules() if isinstance(module, GeneralizedMean)]
    handles = [pool.register_forward_pre_hook(watch) for pool in pools]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if min(lowest, default=0.0) < 0:
        raise InputError(
            f"the feature maps of {name!r} have negative values, which model.pooling 'gem' cannot take: set average, "
            "max or null"
        )

"""The last feature map of a network, kept while images pass through it."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer


@contextlib.contextmanager
def keep_last_map(backbone: nn.Module, token_grids: bool = True) -> Iterator[list[Tensor]]:
    """Keep the last feature map of the images that pass through a backbone inside the context.

    The backbone may be any network for square images. Of a vision transformer of timm or torchvision, the map is the
    grid of its patch tokens, without class and register tokens: after the last block or, where only the class token
    leaves it, before. Of other networks it is the last output of a layer or block with a place in the image, also
    where channels are the last dimension, as in Swin transformers. Other networks of tokens have no map.

    Args:
        backbone: maps float images (B, 3, S, S) to features.
        token_grids: False: vision transformers have no map either.

    Returns:
        Context of a list, empty at first. After a forward pass it holds the map, float (B, C, h, w), with h * w > 1
        and with its graph if gradients are on; it stays empty if the network has no such map.
    """
    watch, grid = _Watch(backbone, []), _find_blocks(backbone)
    hooks = [backbone.register_forward_pre_hook(watch.begin)]
    if grid is None:
        hooks += [one.register_forward_hook(watch.keep_spatial) for one in backbone.modules() if one is not backbone]
    elif token_grids:
        watch.prefix = grid.prefix
        hooks.append(
            grid.last.register_forward_pre_hook(watch.keep_grid_before)
            if grid.before
            else grid.last.register_forward_hook(watch.keep_grid_after)
        )
    try:
        yield watch.maps
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class _Blocks:
    """Blocks of a vision transformer.

    Attributes:
        last: the last block, which maps tokens (B, N, C) to tokens.
        prefix: number of tokens before those of the patches.
        before: whether patch tokens leave no trace after the last block, since the class token alone is used.
    """

    last: nn.Module
    prefix: int
    before: bool


def _find_blocks(backbone: nn.Module) -> _Blocks | None:
    """Return the blocks of the vision transformer in a backbone; None if there is none, or more than one."""
    found = []
    for module in backbone.modules():
        blocks, prefix = getattr(module, "blocks", None), getattr(module, "num_prefix_tokens", None)
        if isinstance(module, VisionTransformer):
            found.append(_Blocks(module.encoder.layers[-1], 1, before=True))
        elif isinstance(prefix, int) and isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks):
            found.append(_Blocks(blocks[-1], prefix, getattr(module, "global_pool", "token") == "token"))
    return found[0] if len(found) == 1 else None


@dataclass
class _Watch:
    """Hooks that keep the last map.

    Where the layout of a map is changed, the network goes on with the changed tensor, so that the map is in its graph.
    """

    backbone: nn.Module
    maps: list[Tensor]
    batch: int = 0
    prefix: int = 0

    def begin(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Forget the map of earlier images."""
        self.maps.clear()
        self.batch = len(inputs[0])

    def keep_spatial(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> Tensor | None:
        """Keep an output (B, C, h, h) or (B, h, h, C); tokens (B, N, C) that come later take its place."""
        if not isinstance(output, Tensor) or len(output) != self.batch:
            return None
        if output.ndim == 3:
            self.maps.clear()
        if output.ndim != 4:
            return None
        _, first, second, third = output.shape
        if first == second > 1 and (second != third or self._channels_last()):
            self.maps[:] = [output.permute(0, 3, 1, 2)]
            return self.maps[0].permute(0, 2, 3, 1)
        if second == third > 1:
            self.maps[:] = [output]
        return None

    def keep_grid_after(self, _: nn.Module, inputs: tuple[Any, ...], output: object) -> Tensor | None:
        """Keep the patch tokens that a block gives."""
        return self._keep_grid(output)

    def keep_grid_before(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Keep the patch tokens that a block takes."""
        tokens = self._keep_grid(inputs[0])
        return None if tokens is None else (tokens, *inputs[1:])

    def _keep_grid(self, tokens: object) -> Tensor | None:
        """Keep the patch tokens of (B, N, C) as a map; some networks add their class token after the blocks."""
        if not isinstance(tokens, Tensor) or tokens.ndim != 3 or len(tokens) != self.batch:
            return None
        for count in (self.prefix, 0):
            side = math.isqrt(max(0, tokens.shape[1] - count))
            if side > 1 and side * side == tokens.shape[1] - count:
                self.maps[:] = [tokens[:, count:].transpose(1, 2).reshape(len(tokens), -1, side, side)]
                return torch.cat([tokens[:, :count], self.maps[0].flatten(2).transpose(1, 2)], 1)
        return None

    def _channels_last(self) -> bool:
        """Whether the layout of maps with as many channels as rows is (B, h, w, C)."""
        return getattr(self.backbone, "output_fmt", "") == "NHWC" or isinstance(self.backbone, SwinTransformer)

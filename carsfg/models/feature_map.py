"""The last feature map of a network, kept while images pass through it."""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn


@contextlib.contextmanager
def keep_last_map(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the last feature map of the images that pass through a backbone inside the context.

    The backbone may be any network for square images. Networks of tokens, such as vision transformers, have no feature
    map: their 4-D tensors are attention weights or patches.

    Args:
        backbone: maps float images (B, 3, S, S) to features.

    Returns:
        Context of a list, empty at first. After a forward pass it holds the map, float (B, C, h, w), with h * w > 1
        and with its graph if gradients are on; it stays empty if the network has no such map.
    """
    maps: list[Tensor] = []
    tokens: list[bool] = []

    def keep(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        first = inputs[0] if inputs else None
        if isinstance(module, nn.Linear) and isinstance(first, Tensor) and first.ndim == 3:
            tokens.append(True)
        if tokens:
            maps.clear()
        elif isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            maps[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in backbone.modules() if not list(module.children())]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()

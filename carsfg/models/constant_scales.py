"""Layer normalisation that is linear in its gradients, for the contributions of a heat map."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-3  # by which the outputs that are computed here may differ from those of the layer


@contextlib.contextmanager
def constant_scales(network: nn.Module) -> Iterator[None]:
    """Treat the scales of layer normalisations as constants in gradients, while images pass inside the context.

    A normalised vector does not change if its input is scaled. So its gradient times this input is 0, and contributions
    of features would add up to nothing before such a layer. Outputs do not change.
    Source: Ali et al., "XAI for Transformers: Better Explanations through Conservative Propagation", 2022.

    Args:
        network: with layers of type LayerNorm or RMSNorm, of torch, torchvision or timm; others are left as they are.
    """
    layers = [one for one in network.modules() if isinstance(getattr(one, "normalized_shape", None), tuple)]
    hooks = [layer.register_forward_hook(_with_constant_scale) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _with_constant_scale(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """Compute the output again; None, which leaves it as it is, if the layer computes something else."""
    (values, *_), (width, *further) = inputs, layer.normalized_shape
    if further or not isinstance(values, Tensor) or not torch.is_grad_enabled():
        return None
    axis = 1 if type(layer).__name__.endswith("2d") else values.ndim - 1
    if values.ndim <= axis or values.shape[axis] != width:
        return None
    shape = [width if place == axis else 1 for place in range(values.ndim)]
    centred = values if "rms" in type(layer).__name__.lower() else values - values.mean(axis, keepdim=True)
    own = centred / (centred.detach().square().mean(axis, keepdim=True) + (layer.eps or 0.0)).sqrt()
    for name, change in (("weight", torch.mul), ("bias", torch.add)):
        parameter = getattr(layer, name, None)
        own = own if parameter is None else change(own, parameter.view(shape))
    return own if torch.allclose(own, output, atol=TOLERANCE, rtol=TOLERANCE) else None

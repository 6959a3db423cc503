"""Losses of pytorch-metric-learning by name."""

import inspect
from typing import Any

import torch
from torch import nn

from carsfg.errors import InputError


def make_loss(name: str, classes: int, width: int, arguments: dict[str, Any] | None = None) -> nn.Module:
    """Build a loss: a module that maps embeddings (B, width) and labels (B,) to a scalar.

    Args:
        name: a class in `pytorch_metric_learning.losses`.
        classes: number of classes; used by losses with a proxy or a centre per class.
        width: of the embeddings; used by the same losses.
        arguments: further arguments of the loss.

    Raises:
        InputError: pytorch-metric-learning is not installed, has no such loss, or the loss does not take the arguments.
    """
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        raise InputError(
            f"loss {name!r} comes from pytorch-metric-learning: python -m pip install -e '.[metric]'"
        ) from None
    found = getattr(losses, name, None)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise InputError(f"unknown loss {name!r}: pytorch_metric_learning.losses has no such class")
    sizes = {"num_classes": classes, "embedding_size": width}
    taken = {name for cls in found.__mro__ for name in inspect.signature(cls.__init__).parameters}  # type: ignore[misc]
    try:
        loss = found(**{key: value for key, value in sizes.items() if key in taken}, **(arguments or {}))
        _try(loss, classes, width)
    except Exception as error:  # the losses raise any type
        raise InputError(f"loss {name} with {arguments or {}}: {type(error).__name__}: {error}") from error
    return loss


def _try(loss: nn.Module, classes: int, width: int) -> None:
    """Compute a loss once: some losses check their arguments only then."""
    labels = torch.arange(8) % min(4, classes)
    with torch.random.fork_rng(devices=[]):
        loss(torch.randn(8, width), labels)

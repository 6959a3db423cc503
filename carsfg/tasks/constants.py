"""Tensors that training does not change, restored after an average of the weights has changed them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Constants:
    """The tensors of a network that no step of a training has changed.

    Lightning's `EMAWeightAveraging` averages all tensors alike. The average of a constant differs from it by rounding,
    and the average of an integer i, such as the indices in Swin's position table, is truncated to i - 1.
    A parameter counts as constant if it has no gradient, a buffer as long as its value is that of the start.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def begin(self, network: nn.Module) -> None:
        """Keep a copy of all buffers and of the parameters without gradients.

        Args:
            network: with the weights in training, before the first step.
        """
        learning = _learning(network)
        values = {name: value for name, value in _tensors(network).items() if name not in learning}
        self._kept = {name: value.detach().clone() for name, value in values.items()}

    def forget_changed(self, network: nn.Module) -> None:
        """Drop what has changed since `begin`, and parameters that have gradients by now.

        Args:
            network: the same network, with the weights in training, not their average.
        """
        learning = _learning(network)
        now = {name: value for name, value in _tensors(network).items() if name not in learning}
        self._kept = {n: value for n, value in self._kept.items() if n in now and torch.equal(value, now[n])}

    @torch.no_grad()
    def put_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the constants over their averages, in place.

        Args:
            tensors: of the network, by name; those that are not constant stay as they are.
        """
        for name, value in self._kept.items():
            if name in tensors:
                tensors[name].copy_(value)

    def put_back_into(self, network: nn.Module) -> None:
        """Write the constants over all tensors of a network, including those that no checkpoint holds.

        Args:
            network: module whose constant tensors are kept, the same in all calls.
        """
        self.put_back(_tensors(network))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _learning(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}

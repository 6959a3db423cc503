"""What training leaves as it is, an average of the weights must leave as it is, too."""

import torch
from torch import Tensor, nn

from carsfg.models.preprocess import Preprocess


class Constants:
    """Tensors of a network that no step of a training changes, kept to be put back where an average has changed them.

    Lightning's `EMAWeightAveraging` averages all tensors alike. The average of a constant is off by rounding, and that
    of a whole number i, such as the indices in Swin's position table, is cut to i - 1.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}
        self._first_epoch = True

    def begin(self, network: nn.Module) -> None:
        """Keep what is constant as a training begins, in the midst of an epoch perhaps.

        Args:
            network: with the weights in training.
        """
        names = _constant(network)
        self._kept = {name: value.detach().clone() for name, value in _tensors(network).items() if name in names}
        self._first_epoch = True

    def begin_epoch(self, network: nn.Module) -> None:
        """Keep what is constant in the first whole epoch; in a later one no more what is not constant any longer.

        Args:
            network: with the weights in training, in the modes and with the gradients of the epoch.
        """
        if self._first_epoch:
            self.begin(network)
            self._first_epoch = False
        names = _constant(network)
        self._kept = {name: value for name, value in self._kept.items() if name in names}

    @torch.no_grad()
    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Write the constants over what an average has made of them.

        Args:
            tensors: of the network, by name; those that are no constants stay as they are.
        """
        for name, value in self._kept.items():
            if name in tensors:
                tensors[name].copy_(value)

    def put_back_into(self, network: nn.Module) -> None:
        """Do so with all tensors of a network, those that no checkpoint holds as well.

        Args:
            network: the one of which they are.
        """
        self.put_back(_tensors(network))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _constant(network: nn.Module) -> set[str]:
    """Name the parameters without gradients, buffers of modules in eval mode, whole numbers, and the normalisation."""
    names = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    for place, module in network.named_modules():
        for name, value in module.named_buffers(place, recurse=False):
            # BatchNorm counts its batches
            whole = not value.is_floating_point() and not name.endswith("num_batches_tracked")
            if whole or not module.training or isinstance(module, Preprocess):
                names.add(name)
    return names

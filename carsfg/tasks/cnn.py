"""The custom CNN as a task: trained from random weights."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from carsfg.models.backbones import CUSTOM, build_backbone
from carsfg.models.cnn import CnnPooling, CustomCNN
from carsfg.tasks.base import CarsTask


class CarCNN(CarsTask):
    """Classify cars with a custom CNN from random weights.

    The embedding is the pooled output of the last block, before dropout and head. The first eight arguments are those
    of `carsfg.models.cnn.CustomCNN`, listed here again so that the command line shows and checks them.

    Args:
        widths: channels per block; their number is the number of blocks.
        units: units per block, one number for all blocks or one per block.
        convolutions: 3x3 convolutions per unit.
        batch_norm: BatchNorm after each convolution.
        residual: a shortcut around each unit.
        stem: stride of an additional first convolution; 1 for none.
        pooling: `average`, `max`, `gem` or `flatten`.
        he_init: initialise convolutions for ReLU as He et al. (2015).
        dropout: probability of dropout before the head.
        weights: the path of a state_dict of the backbone, or None for random weights.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the network cannot be built from these arguments, weights cannot be read or do not fit, or
            `dropout` is not a probability.
    """

    network_arguments = (
        *CarsTask.network_arguments, "widths", "units", "convolutions", "batch_norm", "residual", "stem", "pooling",
    )  # fmt: skip

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
        dropout: float = 0.0,
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.assemble(*build_backbone(CUSTOM, weights, arguments=cnn_arguments(self.hparams)), dropout)


def cnn_arguments(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `CustomCNN` among a CarCNN's hyper-parameters.

    Args:
        hyper_parameters: of a CarCNN, by name.
    """
    names = inspect.signature(CustomCNN).parameters
    return {name: hyper_parameters[name] for name in names}

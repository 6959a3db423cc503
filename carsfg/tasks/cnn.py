"""The custom CNN as a task: trained from random weights."""

from collections.abc import Sequence
from typing import Any

from carsfg.models.cnn import CnnPooling
from carsfg.tasks.architectures import CnnNetwork
from carsfg.tasks.base import CarsTask


class CarCNN(CnnNetwork, CarsTask):
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
        self.build_network(dropout, weights)

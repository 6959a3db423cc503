"""The custom CNN as a task: trained from random weights."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from carsfg.models.backbones import CUSTOM, build_backbone
from carsfg.models.cnn import CnnPooling, CustomCNN
from carsfg.tasks.base import CarsTask


class CarCNN(CarsTask):
    """Classify cars with a CNN of one's own, from random weights.

    The embedding is the pooled output of the last block, before dropout and head.

    Args:
        widths: channels of each block of `carsfg.models.cnn.CustomCNN`, whose arguments the next seven are, too.
        units: units in each block, or in each of them.
        convolutions: 3x3 convolutions a unit.
        batch_norm: BatchNorm after each convolution.
        residual: a shortcut around each unit.
        stem: stride of a first convolution; 1 for none.
        pooling: `average`, `max`, `gem` or `flatten`.
        he_init: He initialisation.
        dropout: probability of dropout before the head.
        weights: the path of a state_dict of the backbone, or None for random weights.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the network cannot be built so, weights cannot be read or do not fit, or `dropout` is no
            probability.
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
        self.assemble(*build_backbone(CUSTOM, weights, arguments=cnn_arguments(self.hparams)), dropout)


def cnn_arguments(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `CustomCNN` among a CarCNN's hyper-parameters.

    Args:
        hyper_parameters: of a CarCNN, by name.
    """
    names = inspect.signature(CustomCNN).parameters
    return {name: hyper_parameters[name] for name in names}

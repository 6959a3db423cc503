"""The classifier: a pretrained backbone, dropout and one linear layer."""

from typing import Any

from carsfg.tasks.architectures import ClassifierNetwork
from carsfg.tasks.base import CarsTask
from carsfg.tasks.network import Freeze


class CarClassifier(ClassifierNetwork, CarsTask):
    """Classify cars by transfer learning.

    The embedding is the output of the backbone, before dropout and head.

    Args:
        backbone: a torchvision classification network, such as `resnet50` or `densenet121`, or `timm:NAME`.
        weights: `DEFAULT` or another name of torchvision's weights, the path of a state_dict, or None for random
            weights.
        freeze: `none`; `backbone` trains the head only, the backbone does not change, its BatchNorm statistics
            included; with `batch_norm_statistics` all weights learn, but these statistics stay those of `weights`.
        dropout: probability of dropout before the head.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the backbone is unknown, weights cannot be read or do not fit, `freeze` does not fit it, or
            `dropout` is not a probability.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = "DEFAULT",
        freeze: Freeze = "none",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.build_network(backbone, weights, freeze, dropout)

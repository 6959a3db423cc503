"""The classifier: a pretrained trunk, dropout and one linear layer."""

from typing import Any

from torch import Tensor, nn

from carsfg.errors import InputError
from carsfg.models.backbones import build_trunk
from carsfg.tasks.base import CarsTask
from carsfg.tasks.loading import init_from


class CarClassifier(CarsTask):
    """Classify cars by transfer learning.

    The embedding is the trunk's output, before dropout and head.

    Args:
        backbone: a torchvision classification network, such as `resnet50` or `densenet121`.
        weights: a torchvision weights name (`DEFAULT`), the path of a state_dict, or None for random weights.
        freeze: train the head alone; the trunk, its BatchNorm statistics included, stays as it is.
        dropout: probability of dropout before the head.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the backbone is unknown, weights cannot be read or do not fit, or `dropout` is no probability.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        weights: str | None = "DEFAULT",
        freeze: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= dropout <= 1:
            raise InputError(f"model.dropout is {dropout}: give a probability in 0..1")
        self.trunk, width = build_trunk(backbone, None if kwargs.get("init_from") else weights)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, len(self.class_names))
        if freeze:
            self.trunk.requires_grad_(False)
            self.frozen_modules = [self.trunk]
            self.train()
        init_from(self, kwargs.get("init_from"))

    def embed_images(self, images: Tensor) -> Tensor:
        """Map preprocessed images (B, 3, S, S) to the trunk's output (B, width)."""
        return self.trunk(images)  # type: ignore[no-any-return]

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, width) to logits (B, C)."""
        return self.head(self.dropout(embedding))  # type: ignore[no-any-return]

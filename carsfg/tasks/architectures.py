"""The networks of carsfg's own tasks, built from their arguments; without Lightning, see `carsfg.tasks.inference`."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from carsfg.models.backbones import CUSTOM, build_backbone
from carsfg.models.cnn import CustomCNN
from carsfg.models.pooling import Pooling
from carsfg.tasks.network import CarsNetwork, Freeze


class ClassifierNetwork(CarsNetwork):
    """Network of `CarClassifier`: a backbone, dropout and one linear layer."""

    network_arguments = (*CarsNetwork.network_arguments, "backbone")

    def build_network(
        self,
        backbone: str = "resnet50",
        weights: str | None = "DEFAULT",
        freeze: Freeze = "none",
        dropout: float = 0.0,
    ) -> None:
        """Build backbone and head.

        Args:
            backbone: see `CarClassifier`.
            weights: see `CarClassifier`.
            freeze: see `CarClassifier`.
            dropout: see `CarClassifier`.

        Raises:
            InputError: as `CarClassifier` raises it.
        """
        network, width = build_backbone(backbone, None if self.hparams["init_from"] else weights)
        self.assemble(network, width, dropout, freeze)


class CnnNetwork(CarsNetwork):
    """Network of `CarCNN`: a custom CNN, dropout and one linear layer."""

    network_arguments = (
        *CarsNetwork.network_arguments, "widths", "units", "convolutions", "batch_norm", "residual", "stem", "pooling",
    )  # fmt: skip

    def build_network(self, dropout: float = 0.0, weights: str | None = None) -> None:
        """Build backbone and head.

        Args:
            dropout: see `CarCNN`.
            weights: see `CarCNN`.

        Raises:
            InputError: as `CarCNN` raises it.
        """
        self.assemble(*build_backbone(CUSTOM, weights, arguments=cnn_arguments(self.hparams)), dropout)


class ExtractorNetwork(CarsNetwork):
    """Network of `EmbeddingExtractor`: a backbone, a projection and one linear layer."""

    network_arguments = (
        *CarsNetwork.network_arguments, "backbone", "backbone_args", "pooling", "projection", "standardize",
        "normalize",
    )  # fmt: skip
    projection: nn.Module

    def build_network(
        self,
        backbone: str = "resnet50",
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = "DEFAULT",
        freeze: Freeze = "none",
        pooling: Pooling | None = None,
        projection: int | None = None,
        standardize: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Build backbone, projection and head.

        Args:
            backbone: see `EmbeddingExtractor`.
            backbone_args: see `EmbeddingExtractor`.
            weights: see `EmbeddingExtractor`.
            freeze: see `EmbeddingExtractor`.
            pooling: see `EmbeddingExtractor`.
            projection: see `EmbeddingExtractor`.
            standardize: see `EmbeddingExtractor`.
            dropout: see `EmbeddingExtractor`.

        Raises:
            InputError: as `EmbeddingExtractor` raises it.
        """
        size = {"image_size": self.hparams["image_size"]} if backbone == CUSTOM else {}
        network, width = build_backbone(backbone, weights, pooling, (backbone_args or {}) | size)
        self.projection = nn.Identity() if projection is None else nn.Linear(width, projection)
        if standardize:
            self.projection = nn.Sequential(self.projection, nn.BatchNorm1d(projection or width, affine=False))
        self.assemble(network, width, dropout, freeze, embedding_width=projection)

    def project(self, feature: Tensor) -> Tensor:
        """Map features to embeddings (B, D).

        Args:
            feature: float (B, width), the output of the backbone.
        """
        embedding = self.projection(feature)
        return functional.normalize(embedding.float(), dim=1) if self.hparams["normalize"] else embedding


class HeadlessNetwork(CarsNetwork):
    """Network of `PretrainedNetwork`: a backbone alone."""

    network_arguments = (*CarsNetwork.network_arguments, "backbone")

    def build_network(self, backbone: str = "resnet50", weights: str | None = "DEFAULT") -> None:
        """Build the backbone.

        Args:
            backbone: see `PretrainedNetwork`.
            weights: see `PretrainedNetwork`.

        Raises:
            InputError: as `PretrainedNetwork` raises it.
        """
        self.assemble(*build_backbone(backbone, weights), dropout=0.0, freeze="backbone")


def cnn_arguments(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `CustomCNN` among a CarCNN's hyper-parameters.

    Args:
        hyper_parameters: of a CarCNN, by name.
    """
    names = inspect.signature(CustomCNN).parameters
    return {name: hyper_parameters[name] for name in names}

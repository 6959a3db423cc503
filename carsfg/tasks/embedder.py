"""The embedding extractor: a backbone whose vectors lie near each other when their cars are of one class."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from carsfg.errors import InputError
from carsfg.models.backbones import CUSTOM, build_backbone, weights_are_skipped
from carsfg.models.pooling import Pooling
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import read_checkpoint
from carsfg.tasks.cnn import cnn_arguments
from carsfg.tasks.losses import make_loss


class EmbeddingExtractor(CarsTask):
    """Embed cars, for retrieval.

    The embedding is the backbone's pooled output, projected and scaled to length 1 on request. With a metric-learning
    loss, the linear head is trained on detached embeddings; its accuracy acts as an online linear probe.

    Args:
        backbone: as in `carsfg.models.backbones.build_backbone`; `init_from` decides, where it is given.
        backbone_args: arguments of `carsfg.models.cnn.CustomCNN`, likewise.
        weights: `DEFAULT` or another of torchvision's names, the path of a state_dict, or None for random weights.
        freeze: keep the backbone as it is.
        pooling: `average`, `max` or generalised mean (`gem`); None: the network's own.
        projection: width of a linear layer after the backbone; None for none.
        normalize: bring embeddings to length 1.
        dropout: probability of dropout before the head.
        loss: a loss of pytorch-metric-learning, such as `ArcFaceLoss`, `ProxyAnchorLoss` or `MultiSimilarityLoss`;
            None: cross-entropy of the head.
        loss_args: its arguments, beyond the number of classes and the width.
        loss_lr: learning rate of the loss's own weights (proxies); None: that of all others.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the backbone or loss is unknown, weights cannot be read or do not fit, or a number is out of range.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = "DEFAULT",
        freeze: bool = False,
        pooling: Pooling | None = None,
        projection: int | None = None,
        normalize: bool = False,
        dropout: float = 0.0,
        loss: str | None = None,
        loss_args: dict[str, Any] | None = None,
        loss_lr: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if projection is not None and projection < 1:
            raise InputError(f"model.projection is {projection}: give a width of 1 or more, or null")
        start = self.hparams["init_from"]
        if start is not None and not weights_are_skipped():
            backbone, backbone_args, weights = *_network_in(read_checkpoint(start)["hyper_parameters"]), None
            self.hparams["backbone"], self.hparams["backbone_args"] = backbone, backbone_args
        if loss is None and (loss_args is not None or loss_lr is not None):
            raise InputError("model.loss_args and model.loss_lr are of a metric-learning loss: name one as model.loss")
        size = {"image_size": self.hparams["image_size"]} if backbone == CUSTOM else {}
        network, width = build_backbone(backbone, weights, pooling, (backbone_args or {}) | size)
        self.projection: nn.Module = nn.Identity() if projection is None else nn.Linear(width, projection)
        self.assemble(network, projection or width, dropout, freeze)
        self.criterion = (
            None if loss is None else make_loss(loss, len(self.class_names), projection or width, loss_args)
        )

    def project(self, feature: Tensor) -> Tensor:
        """Map the backbone's output (B, width) to embeddings (B, D).

        Args:
            feature: float (B, width).
        """
        embedding = self.projection(feature)
        return functional.normalize(embedding.float(), dim=1) if self.hparams["normalize"] else embedding

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss, a scalar, the head's logits (B, C), and its parts.

        With a metric-learning loss that is logged as `train/metric_loss`, and the head's cross-entropy as `train/loss`.

        Args:
            embedding: float (B, D).
            labels: int64 (B,); without a metric-learning loss, shares of the classes (B, C), too.

        Raises:
            InputError: images were mixed, which metric-learning losses cannot take.
        """
        if self.criterion is None:
            return super().loss(embedding, labels)
        if labels.ndim > 1:
            raise InputError("metric-learning losses take no mixed images: leave MixupCutmix out")
        beside, logits, _ = super().loss(embedding.detach(), labels)
        with torch.autocast(embedding.device.type, enabled=False):
            own = self.criterion(embedding.float(), labels)
        return own + beside, logits, {"loss": beside, "metric_loss": own}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what learns; the loss's own weights in a group of their own if they have their own rate."""
        rate = self.hparams["loss_lr"]
        if self.criterion is None or rate is None:
            return super().parameter_groups()
        own = list(self.criterion.parameters())
        known = {id(parameter) for parameter in own}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [{"params": others}, {"params": own, "lr": rate}]


def _network_in(hyper_parameters: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return the name and the arguments of the backbone in a checkpoint."""
    if "backbone" in hyper_parameters:
        return hyper_parameters["backbone"], hyper_parameters.get("backbone_args")
    return CUSTOM, cnn_arguments(hyper_parameters)

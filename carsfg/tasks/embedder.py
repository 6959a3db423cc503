"""Embedding extractor: embeds images so that images of the same class are close to each other."""

from typing import Any

import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.models.backbones import CUSTOM, weights_are_skipped
from carsfg.models.pooling import Pooling
from carsfg.tasks.architectures import ExtractorNetwork, cnn_arguments
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import read_checkpoint
from carsfg.tasks.losses import make_loss
from carsfg.tasks.network import Freeze


class EmbeddingExtractor(ExtractorNetwork, CarsTask):
    """Embed cars for retrieval.

    The embedding is the pooled output of the backbone, optionally projected, standardised and scaled to length 1. With
    a metric-learning loss, the linear head is trained on detached embeddings; its accuracy is an online linear probe,
    and `class_weights` apply to its cross-entropy alone.

    Args:
        backbone: a name that `carsfg.models.backbones.build_backbone` takes; `init_from` replaces it by its own.
        backbone_args: arguments of `carsfg.models.cnn.CustomCNN`, for the backbone `custom_cnn`.
        weights: `DEFAULT` or another name of torchvision's weights, the path of a state_dict, or None for random
            weights.
        freeze: `none`; `backbone` does not train it; with `batch_norm_statistics` all weights learn, but the statistics
            of the backbone's BatchNorm layers stay those of `weights`.
        pooling: `average`, `max` or `gem` (generalised mean, for values of 0 or more); None: that of the network.
        projection: width of a linear layer after the backbone; None for none.
        standardize: subtract the mean of each embedding dimension and divide by its standard deviation: BatchNorm
            without learned scale and shift, with running statistics outside training.
        normalize: scale embeddings to length 1.
        dropout: probability of dropout before the head.
        loss: a loss of pytorch-metric-learning, such as `ArcFaceLoss`, `ProxyAnchorLoss` or `MultiSimilarityLoss`;
            None: cross-entropy of the head.
        loss_args: arguments of the loss, besides the number of classes and the embedding width.
        loss_lr: learning rate of the weights of the loss (proxies); None: `lr`.
        **kwargs: arguments of `CarsTask`.

    Raises:
        InputError: the backbone or loss is unknown, weights cannot be read or do not fit, or a number is out of range.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        backbone_args: dict[str, Any] | None = None,
        weights: str | None = "DEFAULT",
        freeze: Freeze = "none",
        pooling: Pooling | None = None,
        projection: int | None = None,
        standardize: bool = False,
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
            raise InputError("model.loss_args and model.loss_lr need a metric-learning loss: set model.loss")
        self.build_network(backbone, backbone_args, weights, freeze, pooling, projection, standardize, dropout)
        self.criterion = (
            None if loss is None else make_loss(loss, len(self.class_names), self.head.in_features, loss_args)
        )

    def describe(self) -> dict[str, Any]:
        """Return what the run record says of the task; `standardize` only if it is set, since older runs lack it."""
        described = super().describe()
        if not described["standardize"]:
            del described["standardize"]
        return described

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss (scalar), the logits (B, C) of the head, and the parts of the loss.

        A metric-learning loss is logged as `train/metric_loss`, the cross-entropy of the head as `train/loss`.

        Args:
            embedding: float (B, D).
            labels: int64 (B,); without a metric-learning loss also shares of the classes (B, C).

        Raises:
            InputError: the labels are shares, and the loss is a metric-learning loss.
        """
        if self.criterion is None:
            return super().loss(embedding, labels)
        if labels.ndim > 1:
            raise InputError("metric-learning losses take no mixed images: leave MixupCutmix out")
        beside, logits, _ = super().loss(embedding.detach(), labels)
        with torch.autocast(embedding.device.type, enabled=False):
            own = self.criterion(embedding.float(), labels)
        return own + beside, logits, {"loss": beside, "metric_loss": own}

    def logged_keys(self) -> set[str]:
        """Return the keys of the base, and that of a metric-learning loss."""
        return super().logged_keys() | (set() if self.criterion is None else {"train/metric_loss"})

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups; the weights of the loss are a group of their own if `loss_lr` is set."""
        rate = self.hparams["loss_lr"]
        if self.criterion is None or rate is None:
            return super().parameter_groups()
        own = list(self.criterion.parameters())
        known = {id(parameter) for parameter in own}
        head, *others = super().parameter_groups()
        head["params"] = [parameter for parameter in head["params"] if id(parameter) not in known]
        return [head, *others, {"params": own, "lr": rate, "name": "loss"}]


def _network_in(hyper_parameters: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return the name and the arguments of the backbone in a checkpoint."""
    if "backbone" in hyper_parameters:
        return hyper_parameters["backbone"], hyper_parameters.get("backbone_args")
    return CUSTOM, cnn_arguments(hyper_parameters)

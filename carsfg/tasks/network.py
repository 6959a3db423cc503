"""The network of a task: from images to embeddings and logits, without what training needs."""

from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from carsfg.errors import InputError
from carsfg.models.backbones import check_backbone, weights_are_skipped
from carsfg.models.preprocess import Preprocess
from carsfg.tasks.checkpoints import init_from

Batch = dict[str, Tensor]
Freeze = Literal["none", "backbone", "batch_norm_statistics"]
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's BatchNormAct2d is one, too


class CarsNetwork(nn.Module):
    """Preprocessing, backbone, projection and head; `CarsTask` trains and scores them.

    This module does not import Lightning, so that `carsfg search` starts at once; see `carsfg.tasks.inference`.
    """

    # arguments of the task by name, and where its tensors are; `CarsTask` has both from LightningModule
    hparams: Any
    device: Any
    # hyper-parameters that change the embedding of an image; `fingerprint` hashes them
    network_arguments: ClassVar[tuple[str, ...]] = ("image_size", "interpolation")
    # maps preprocessed images (B, 3, S, S) to features (B, width)
    backbone: nn.Module
    # modules that do not learn: kept in eval mode, so that BatchNorm statistics do not move and nothing is dropped
    frozen_modules: list[nn.Module]
    # whether the statistics of the backbone's BatchNorm layers do not move, while their weights and biases learn
    keeps_statistics: bool = False
    # names of the tensors that `init_from` did not bring
    still_random: list[str]
    class_names: list[str]
    preprocess: Preprocess
    # maps embeddings (B, D) to logits (B, C); None without classes: such a network only embeds
    head: nn.Linear
    # whether it holds all that a checkpoint of its task needs
    savable: ClassVar[bool] = True

    @property
    def has_head(self) -> bool:
        """Whether the network classifies, beside embedding."""
        return bool(self.class_names) and getattr(self, "head", self) is not None

    def assemble(
        self,
        backbone: nn.Module,
        width: int,
        dropout: float,
        freeze: Freeze = "none",
        embedding_width: int | None = None,
    ) -> None:
        """Put the network together, and load the checkpoint of `init_from`.

        Args:
            backbone: maps preprocessed images (B, 3, S, S) to features (B, width).
            width: number of features W per image.
            dropout: probability of dropout between embedding and head.
            freeze: `none`; `backbone` does not train it, its BatchNorm statistics do not move either; with
                `batch_norm_statistics` all weights learn, and the backbone's BatchNorm layers stay in eval mode.
            embedding_width: D, if `project` changes the width; None: that of the features.

        Raises:
            InputError: `dropout` is not a probability, `freeze` is another word or does not fit the backbone, or
                `init_from` or image size do not.
        """
        if not 0 <= dropout <= 1:
            raise InputError(f"model.dropout is {dropout}: give a probability in 0..1")
        self._check_freeze(freeze, backbone)
        options = self.hparams
        if not weights_are_skipped():  # otherwise the network has been checked, before its checkpoint was written
            check_backbone(backbone, options["image_size"], options.get("backbone", "the network"), width)
        self.backbone, self.dropout = backbone, nn.Dropout(dropout)
        classes = len(self.class_names)
        self.head = nn.Linear(embedding_width or width, classes) if classes else None  # type: ignore[assignment]
        if freeze == "backbone":
            self.backbone.requires_grad_(False)
            self.frozen_modules = [self.backbone]
        self.keeps_statistics = freeze == "batch_norm_statistics"
        self.train()
        init_from(self, options["init_from"])  # type: ignore[arg-type]  # a network is always part of a CarsTask

    def _check_freeze(self, freeze: str, backbone: nn.Module) -> None:
        if freeze not in get_args(Freeze):
            raise InputError(
                f"unknown model.freeze {freeze!r}: use backbone (true in earlier versions), none (false) or "
                "batch_norm_statistics"
            )
        if freeze == "batch_norm_statistics" and not any(isinstance(one, BATCH_NORMS) for one in backbone.modules()):
            name = self.hparams.get("backbone", "the network")
            raise InputError(f"model.freeze {freeze!r}: {name} has no BatchNorm layers, use none or backbone")

    def embed_images(self, images: Tensor) -> Tensor:
        """Map preprocessed images to features (B, width), the output of the backbone.

        Args:
            images: float (B, 3, S, S).
        """
        return self.backbone(images)  # type: ignore[no-any-return]

    def project(self, feature: Tensor) -> Tensor:
        """Map features to embeddings (B, D); by default the features are the embeddings.

        Args:
            feature: float (B, width), the output of the backbone.
        """
        return feature

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings to logits (B, C), with dropout in training.

        Args:
            embedding: float (B, D).

        Raises:
            InputError: the network has no head.
        """
        if not self.has_head:
            raise InputError(
                f"{self.hparams.get('backbone', 'the network')} has no classification head: it only embeds"
            )
        return self.head(self.dropout(embedding))  # type: ignore[no-any-return]

    def embed(self, batch: Batch) -> Tensor:
        """Return the embeddings (B, D) of a batch.

        Args:
            batch: with `image` (B, 3, H, W), or `feature` (B, width) instead, the output of the backbone.
        """
        known = "feature" in batch
        return self.project(batch["feature"] if known else self.embed_images(self.preprocess(batch["image"])))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images to `embedding` (B, D) and, by a network with a head, `logits` (B, C).

        Args:
            images: RGB (B, 3, H, W) of any size, uint8 or float in 0..255.

        Raises:
            InputError: the images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"images must be (batch, 3, height, width), RGB in 0..255, not {tuple(images.shape)}")
        embedding = self.embed({"image": images})
        return {"embedding": embedding, **({"logits": self.classify(embedding)} if self.has_head else {})}

    def train(self, mode: bool = True) -> "CarsNetwork":
        """Set training mode, but leave frozen modules, and BatchNorm layers that keep their statistics, in eval mode.

        Args:
            mode: False for eval mode.
        """
        super().train(mode)
        still = [*self.frozen_modules]
        if self.keeps_statistics:  # looked up each time: the Trainer may have exchanged them for SyncBatchNorm
            still += [module for module in self.backbone.modules() if isinstance(module, BATCH_NORMS)]
        for module in still:
            module.eval()
        return self

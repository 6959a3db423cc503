"""What every task shares: preprocessing, steps, metrics, optimiser, and what a checkpoint carries."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn import functional

from carsfg.errors import InputError, TrainingError
from carsfg.models.backbones import check_image_size, skip_weights, weights_are_skipped
from carsfg.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from carsfg.models.timm_backbones import check_normalisation
from carsfg.seeding import derive_seed, global_seed
from carsfg.tasks.checkpoints import check_classes, init_from
from carsfg.tasks.constants import Constants
from carsfg.tasks.metrics import ClassificationMetrics
from carsfg.tasks.optimizers import check_length, check_names, make_optimizer, make_scheduler

Batch = dict[str, Tensor]


class CarsTask(LightningModule):
    """Base of the tasks: uint8 RGB in, embedding and logits out.

    A batch is a dict of `image` (B, 3, H, W), uint8 or float in 0..255, `label` (B,) and `index` (B,), the image's
    place in its split. Where the backbone is frozen and nothing random comes before it, `feature` (B, D) may stand for
    `image`: what the backbone makes of it. In training, labels may be shares of the classes (B, C), as mixing gives
    them.

    Args:
        class_names: the C class names in label order; on the command line they come from the data.
        init_from: a carsfg checkpoint whose backbone to start from, and whose head too where the classes are the same.
        optimizer: name of a class in `torch.optim`.
        lr: learning rate.
        weight_decay: the optimiser's weight decay.
        optimizer_args: further arguments of the optimiser.
        scheduler: name of a class in `torch.optim.lr_scheduler`, or None for a constant rate.
        scheduler_args: its arguments.
        scheduler_interval: step the scheduler every `epoch` or every `step`.
        label_smoothing: share of the target spread over all classes, 0..1.
        image_size: side of the network's input, in pixels.
        interpolation: how to resize to it.
        mean: per channel, of RGB scaled to 0..1.
        std: per channel, likewise.
        compile: compile the backbone for training (`torch.compile`); `auto`: on a GPU with Triton and a C compiler.

    Raises:
        InputError: an optimiser or scheduler of that name does not exist, `init_from` does not fit, there are fewer
            than two classes, or a number is out of its range.
    """

    # maps preprocessed images (B, 3, S, S) to what the embedding is made of; each task makes its own
    backbone: nn.Module
    # what must not learn: kept in eval mode, so that BatchNorm statistics and dropout stand still as well
    frozen_modules: list[nn.Module]
    # what `init_from` did not bring, by name
    still_random: list[str]
    # parameter groups prepared by a callback; None: one group of all that learns
    optimizer_groups: list[dict[str, Any]] | None

    def __init__(
        self,
        class_names: Sequence[str],
        init_from: str | None = None,
        optimizer: str = "Adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer_args: dict[str, Any] | None = None,
        scheduler: str | None = None,
        scheduler_args: dict[str, Any] | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
        image_size: int = 224,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        compile: bool | Literal["auto"] = "auto",  # noqa: A002 - the field's word
    ) -> None:
        super().__init__()
        if len(class_names) < 2:
            raise InputError(f"there is {len(class_names)} class to learn: a network needs at least 2")
        if image_size < 1 or not 0 <= label_smoothing <= 1:
            raise InputError(
                f"model.image_size {image_size} must be 1 or more, model.label_smoothing {label_smoothing} in 0..1"
            )
        self.save_hyperparameters(logger=False)  # `RecordRun` logs them, without the list of class names
        check_names(optimizer, scheduler)
        self.class_names = list(class_names)
        self.frozen_modules, self.optimizer_groups, self.still_random = [], None, []
        self._constants = Constants()
        self.preprocess = Preprocess(image_size, interpolation, mean, std)
        self.metrics = nn.ModuleDict({stage: ClassificationMetrics(class_names) for stage in ("val_", "test_")})

    def assemble(self, backbone: nn.Module, width: int, dropout: float, freeze: bool = False) -> None:
        """Put the network together, and take over what `init_from` holds.

        Args:
            backbone: maps preprocessed images (B, 3, S, S) to embeddings (B, width).
            width: of the embedding.
            dropout: probability of dropout between embedding and head.
            freeze: keep the backbone as it is, its BatchNorm statistics included.

        Raises:
            InputError: `dropout` is no probability, or `init_from`, normalisation or image size do not fit.
        """
        if not 0 <= dropout <= 1:
            raise InputError(f"model.dropout is {dropout}: give a probability in 0..1")
        options = self.hparams
        if not weights_are_skipped():  # else a checkpoint is about to bring what has learned
            weights = None if options["init_from"] else options.get("weights")
            check_normalisation(options.get("backbone", ""), weights, options["mean"], options["std"])
            check_image_size(backbone, options["image_size"], options.get("backbone", "the network"))
        self.backbone, self.dropout = backbone, nn.Dropout(dropout)
        self.head = nn.Linear(width, len(self.class_names))
        if freeze:
            self.backbone.requires_grad_(False)
            self.frozen_modules = [self.backbone]
            self.train()
        init_from(self, self.hparams["init_from"])

    def embed_images(self, images: Tensor) -> Tensor:
        """Map preprocessed images (B, 3, S, S) to the backbone's output (B, width).

        Args:
            images: float (B, 3, S, S).
        """
        return self.backbone(images)  # type: ignore[no-any-return]

    def project(self, feature: Tensor) -> Tensor:
        """Map the backbone's output (B, width) to embeddings (B, D): as it is, unless a task does more.

        Args:
            feature: float (B, width).
        """
        return feature

    def classify(self, embedding: Tensor) -> Tensor:
        """Map embeddings (B, D) to logits (B, C).

        Args:
            embedding: float (B, D).
        """
        return self.head(self.dropout(embedding))  # type: ignore[no-any-return]

    def embed(self, batch: Batch) -> Tensor:
        """Return the embeddings (B, D) of a batch; a `feature` stands for the backbone's output.

        Args:
            batch: with `image` (B, 3, H, W) or `feature` (B, width).
        """
        known = "feature" in batch
        return self.project(batch["feature"] if known else self.embed_images(self.preprocess(batch["image"])))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map RGB (B, 3, H, W), uint8 or float in 0..255, to `embedding` (B, D) and `logits` (B, C).

        Args:
            images: (B, 3, H, W), of any size; another shape raises an InputError.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"images must be (batch, 3, height, width), RGB in 0..255, not {tuple(images.shape)}")
        embedding = self.embed({"image": images})
        return {"embedding": embedding, "logits": self.classify(embedding)}

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss, a scalar, logits (B, C), and parts of the loss to be logged under `train/`.

        It is the cross-entropy, unless a task does otherwise; a part called `loss` is logged in its place.

        Args:
            embedding: float (B, D).
            labels: int64 (B,), or shares of the classes (B, C).
        """
        logits = self.classify(embedding)
        return functional.cross_entropy(logits, labels, label_smoothing=self.hparams["label_smoothing"]), logits, {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; log it, and the accuracy, as the epoch's mean.

        Raises:
            TrainingError: the loss is not a number any more.
        """
        labels = batch["label"]
        loss, logits, parts = self.loss(self.embed(batch), labels)
        look = batch_idx % 50 == 0 or self.trainer.is_last_batch  # now and then: on a GPU looking means waiting
        if look and not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in epoch {self.current_epoch + 1}; try a smaller model.lr")
        truth = labels if labels.ndim == 1 else labels.argmax(1)  # of mixed images, the one they are most of
        top1 = (logits.detach().argmax(1) == truth).float().mean()
        self.log("loss", loss, prog_bar=True, logger=False)
        epoch = {"train/loss": loss, "train/top1": top1} | {f"train/{name}": part for name, part in parts.items()}
        self.log_dict(epoch, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `embedding` (B, D) and `logits` (B, C); loader 0 is scored, any other is a retrieval gallery."""
        return self._evaluate(batch, "val" if dataloader_idx == 0 else None)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """As `validation_step`, on the test split."""
        return self._evaluate(batch, "test" if dataloader_idx == 0 else None)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `embedding` (B, D), `logits` (B, C) and `index` (B,)."""
        return {**self._evaluate(batch, None), "index": batch["index"]}

    def on_fit_start(self) -> None:
        """Forget what was constant in another training."""
        self._constants = Constants()

    def on_train_start(self) -> None:
        """Refuse to go on with a schedule made for a run of another length.

        Raises:
            InputError: a checkpoint brought one.
        """
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            check_length(scheduler, self.hparams, self.trainer)
        if self._is_averaged:
            self._constants.begin(self)

    def on_train_epoch_start(self) -> None:
        """Seed what is random in the network from run, epoch and process, so that a resumed run repeats itself."""
        torch.manual_seed(derive_seed(global_seed(), self.current_epoch, self.global_rank))
        if self._is_averaged:
            self._constants.begin_epoch(self)  # Lightning calls tasks after callbacks: the modes are the epoch's

    def on_train_end(self) -> None:
        """Keep constant what is, in averaged weights that were put in place."""
        self._constants.put_back_into(self)

    def on_validation_epoch_start(self) -> None:
        """Keep constant what is, in averaged weights that were put in place."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._constants.put_back_into(self)

    def on_validation_epoch_end(self) -> None:
        """Log `val/...`."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log `test/...`."""
        self._log_metrics("test")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups: one of all that learns, unless a task does otherwise."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the scheduler if one is named.

        Raises:
            InputError: one of them does not take its arguments.
        """
        clips = bool(getattr(self._trainer, "gradient_clip_val", None))
        optimizer = make_optimizer(self.optimizer_groups or self.parameter_groups(), self.hparams, clips)
        if self.hparams["scheduler"] is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": make_scheduler(optimizer, self.hparams, self._trainer)}

    def setup(self, stage: str) -> None:
        """Refuse data of other classes, lay the weights out for channels-last images, and compile if asked to."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            check_classes(self.class_names, data.class_names)
        self.to(memory_format=torch.channels_last)
        wanted = self.hparams["compile"]
        if stage == "fit" and (wanted is True or (wanted == "auto" and self._can_compile())):
            self.backbone.compile()  # in place, so that names in the state_dict stay as they are

    def _can_compile(self) -> bool:
        """Whether a GPU trains, and the compiler for it has what it needs."""
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        return on_gpu and find_spec("triton") is not None and shutil.which("cc") is not None

    def train(self, mode: bool = True) -> "CarsTask":
        """Set training mode, but leave frozen modules in eval mode.

        Args:
            mode: False for eval mode.
        """
        super().train(mode)
        for module in self.frozen_modules:
            module.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the task's name, by which `carsfg.load` finds the class; keep constant what is."""
        if "callbacks" not in checkpoint and self._trainer is not None:
            # with `save_weights_only` Lightning asks no callback, not even the one whose average it has validated
            whole = dict(checkpoint)
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_save_checkpoint(self.trainer, self, whole)
            checkpoint |= {key: whole[key] for key in ("state_dict", "carsfg") if key in whole}
        checkpoint.setdefault("carsfg", {})["task"] = type(self).__name__
        if self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING:
            self._constants.put_back(checkpoint["state_dict"])

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as Lightning does, but safely (`weights_only=True`) and without reading pretrained weights anew."""
        with skip_weights():
            return super().load_from_checkpoint(*args, **{"weights_only": True, **kwargs})

    def _evaluate(self, batch: Batch, stage: str | None) -> dict[str, Tensor]:
        embedding = self.embed(batch)
        logits = self.classify(embedding).float()
        if stage and self.scores_head:
            self.metrics[f"{stage}_"].update(logits, batch["label"])  # type: ignore[operator]
        return {"embedding": embedding, "logits": logits}

    @property
    def scores_head(self) -> bool:
        """Whether logits mean something on the data in use: in a zero-shot test none of its classes was learned."""
        return getattr(getattr(self.trainer, "datamodule", None), "head_is_scored", True)

    @property
    def _is_averaged(self) -> bool:
        """Whether a callback averages the weights."""
        return any(isinstance(one, WeightAveraging) for one in self.trainer.callbacks)  # type: ignore[attr-defined]

    def _log_metrics(self, stage: str) -> None:
        if self.scores_head:
            metrics = self.metrics[f"{stage}_"]
            figures = {f"{stage}/{name}": value for name, value in metrics.compute().items()}  # type: ignore[operator]
            self.log_dict(figures, sync_dist=True)
            self.log(f"{stage}_top1", figures[f"{stage}/top1"], prog_bar=True, logger=False, sync_dist=True)
            metrics.reset()  # type: ignore[operator]

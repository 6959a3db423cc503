"""CarsTask, the base of all tasks: preprocessing, steps, metrics, optimizer, and contents of a checkpoint."""

import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.callbacks import ModelPruning
from torch import Tensor, nn

from carsfg.class_paths import class_path
from carsfg.errors import InputError, TrainingError
from carsfg.hardware import can_compile
from carsfg.models.backbones import skip_weights
from carsfg.models.image_input import INPUT_ARGUMENTS
from carsfg.models.preprocess import Interpolation, Preprocess
from carsfg.seeding import derive_seed, global_seed
from carsfg.tasks.averaging import AveragingHooks, attached_trainer
from carsfg.tasks.checkpoints import check_classes, task_name
from carsfg.tasks.image_input import unset_input
from carsfg.tasks.losses import ClassWeights, cross_entropy, inverse_frequency, starting_weights, training_counts
from carsfg.tasks.metrics import ClassificationMetrics
from carsfg.tasks.network import Batch
from carsfg.tasks.optimizers import check_length, check_names, make_optimizer, make_scheduler
from carsfg.tasks.scoring import ScoringSteps

MAX_IMAGE_SIZE_PIXELS = 2048
NOT_DESCRIBED = ("class_names", "weights", "init_from", "compile")  # the run record has them elsewhere, or not at all


class CarsTask(ScoringSteps, AveragingHooks):
    """Base of the tasks: uint8 RGB in, embedding and logits out.

    A batch is a dict of `image` (B, 3, H, W), uint8 or float in 0..255, `label` (B,) and `index` (B,), the position of
    the image in its split. With a frozen backbone and nothing random before it, the output of the backbone, `feature`
    (B, W), W the width of the backbone, may replace `image`. In training, labels may be shares of the classes (B, C),
    as MixUp and CutMix give them.

    A task of your own derives from this class or from one of its subclasses. Its `__init__` takes `**kwargs` and passes
    them to `super().__init__`. A direct subclass then calls `assemble`; a subclass of `CarClassifier` or another task
    must not call it again. To change the loss, override
    `loss(embedding (B, D), labels) -> (loss, logits (B, C), parts)`; `parts` are scalars to be logged as `train/NAME`.
    Arguments that change the embedding of an image are added to `network_arguments`.

    Image size, interpolation, mean and std that are None become those that timm or torchvision give for `weights`, or
    those of the checkpoint of `init_from`; without a description 224, bilinear, and ImageNet's mean and standard
    deviation. `hparams` hold the values that are used.

    Args:
        class_names: the C class names in label order; on the command line they come from the data.
        init_from: path of a carsfg checkpoint to start from: its backbone, and its head if the classes are the same.
        optimizer: name of a class in `torch.optim`.
        lr: learning rate.
        backbone_lr_scale: factor on the rate of the backbone, above 0; below 1 pretrained weights change less than the
            new head. With a scale other than 1 the parameter groups are `head` (all but the backbone) and `backbone`.
        weight_decay: L2 penalty or decoupled decay factor, as the optimizer defines it.
        optimizer_args: further arguments of the optimizer.
        scheduler: name of a class in `torch.optim.lr_scheduler`; `warmup_cosine` for a linear warm-up and a cosine to
            zero over the whole run; or None for a constant rate.
        scheduler_args: its arguments. For `ReduceLROnPlateau`, `monitor` names the metric, such as `val/loss`. For
            `warmup_cosine`, the length of the warm-up as `warmup_share` of the steps (0.05 by default),
            `warmup_steps` or `warmup_epochs`.
        scheduler_interval: step the scheduler every `epoch` or every `step`; `OneCycleLR` and `warmup_cosine` always
            every step.
        label_smoothing: share of the target spread over all classes, 0..1.
        class_weights: of the cross-entropy in training: `none`, `auto` (rare classes count more, see
            `carsfg.tasks.losses.inverse_frequency`), or a number per class. Validation and test loss are unweighted.
        image_size: side of the network's input in pixels, 1..2048; None: that of the weights.
        interpolation: how images are resized to it; None: that of the weights.
        mean: of RGB scaled to 0..1, per channel; None: that of the weights.
        std: standard deviation of RGB scaled to 0..1, per channel, above 0; None: that of the weights.
        compile: compile the backbone for training (`torch.compile`); `auto`: on a GPU with Triton and a C compiler.

    Raises:
        InputError: the optimizer or scheduler does not exist, `init_from` does not fit, there are fewer than two
            classes, or a number is out of its range.
    """

    # whether there must be classes to learn; without classes a network has no head
    needs_classes: ClassVar[bool] = True
    # float32 (C,), in the checkpoint; None: all 1
    class_weights: Tensor | None
    # parameter groups prepared by a callback; None: those of `parameter_groups`
    optimizer_groups: list[dict[str, Any]] | None

    def __init__(
        self,
        class_names: Sequence[str],
        init_from: str | None = None,
        optimizer: str = "Adam",
        lr: float = 1e-3,
        backbone_lr_scale: float = 1.0,
        weight_decay: float = 0.0,
        optimizer_args: dict[str, Any] | None = None,
        scheduler: str | None = None,
        scheduler_args: dict[str, Any] | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = "none",
        image_size: int | None = None,
        interpolation: Interpolation | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        compile: bool | Literal["auto"] = "auto",  # noqa: A002 - the field's word
    ) -> None:
        super().__init__()
        if len(class_names) < 2 and self.needs_classes:
            raise InputError(f"there is {len(class_names)} class to learn: a network needs at least 2")
        self.save_hyperparameters(logger=False)  # `RecordRun` logs them, without the list of class names
        self.hparams.update(unset_input(self.hparams))
        image_size, interpolation, mean, std = (self.hparams[name] for name in INPUT_ARGUMENTS)
        if not 1 <= image_size <= MAX_IMAGE_SIZE_PIXELS or not 0 <= label_smoothing <= 1:
            raise InputError(
                f"model.image_size {image_size} must be in 1..{MAX_IMAGE_SIZE_PIXELS}, model.label_smoothing "
                f"{label_smoothing} in 0..1"
            )
        if not 0 < backbone_lr_scale < math.inf:
            raise InputError(
                f"model.backbone_lr_scale {backbone_lr_scale} must be above 0; a backbone that does not learn is "
                "model.freeze: backbone"
            )
        check_names(optimizer, scheduler)
        self.class_names = list(class_names)
        self.frozen_modules, self.optimizer_groups, self.still_random = [], None, []
        self.register_buffer("class_weights", starting_weights(class_weights, len(class_names)))
        self.preprocess = Preprocess(image_size, interpolation, mean, std)
        stages = ("val_", "test_") if class_names else ()
        self.metrics = nn.ModuleDict({stage: ClassificationMetrics(len(class_names)) for stage in stages})

    def describe(self) -> dict[str, Any]:
        """Return what the run record says of the task, as plain JSON values.

        That is `class_path`, with the module, and all arguments except for class names, weights and `compile`.
        """
        arguments = {key: value for key, value in self.hparams.items() if key not in NOT_DESCRIBED}
        plain: dict[str, Any] = json.loads(json.dumps(arguments, default=str))
        return {"class_path": class_path(type(self)), **plain}

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the loss (scalar, by default weighted cross-entropy), the logits (B, C), and parts of it by name.

        Parts are scalars, logged as `train/NAME`; a part called `loss` is logged instead of the whole loss.

        Args:
            embedding: float (B, D).
            labels: int64 (B,), or shares of the classes (B, C).
        """
        logits = self.classify(embedding)
        return cross_entropy(logits, labels, self.hparams["label_smoothing"], self.class_weights), logits, {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; log loss and accuracy as means over the epoch.

        Raises:
            InputError: an overridden `loss` returns something else than loss, logits and parts.
            TrainingError: the loss is NaN or infinite; the first, every 50th and the last batch are checked.
        """
        labels = batch["label"]
        outcome = self.loss(self.embed(batch), labels)
        if not isinstance(outcome, tuple) or len(outcome) != 3:
            raise InputError(
                f"{type(self).__name__}.loss returns {type(outcome).__name__!r}: return (loss, logits, parts), parts a "
                "dict of scalars to log, {} for none"
            )
        loss, logits, parts = outcome
        look = batch_idx % 50 == 0 or self.trainer.is_last_batch  # not every time: on a GPU this waits for the step
        if look and not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in epoch {self.current_epoch + 1}; try a smaller model.lr")
        truth = labels if labels.ndim == 1 else labels.argmax(1)  # for mixed images, the class with the largest share
        top1 = (logits.detach().argmax(1) == truth).float().mean()
        self.log("loss", loss, prog_bar=True, logger=False)
        epoch = {"train/loss": loss, "train/top1": top1} | {f"train/{name}": part for name, part in parts.items()}
        self.log_dict(epoch, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def logged_keys(self) -> set[str]:
        """Return the keys of the metrics that `fit` logs, which monitors are compared with before the first epoch.

        A task of your own that logs more adds its keys. Without an override its monitors are not checked that early.
        """
        keys = {"loss", "train/loss", "train/top1"}
        if self.scores_head:
            names: list[str] = self.metrics["val_"].names  # type: ignore[assignment]
            keys |= {"val_top1", *(f"val/{name}" for name in names)}
        return keys

    def on_train_start(self) -> None:
        """Check the schedule of a resumed run.

        Raises:
            InputError: the checkpoint's schedule was made for a run of another length.
        """
        super().on_train_start()
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            check_length(scheduler, self.hparams, self.trainer)

    def on_train_epoch_start(self) -> None:
        """Seed dropout and other random layers by run, epoch and process, so that a resumed run repeats itself."""
        torch.manual_seed(derive_seed(global_seed(), self.current_epoch, self.global_rank))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimizer: of all parameters with gradients.

        By default one group; two, `head` and `backbone`, if the backbone has another rate.

        Raises:
            InputError: the backbone has a rate of its own, but does not learn.
        """
        scale, learning = (
            self.hparams["backbone_lr_scale"],
            {n: p for n, p in self.named_parameters() if p.requires_grad},
        )
        if scale == 1:
            return [{"params": [*learning.values()]}]
        backbone = [parameter for name, parameter in learning.items() if name.startswith("backbone.")]
        if not backbone:
            raise InputError(
                f"model.backbone_lr_scale {scale} is for a backbone that learns: set 1, or model.freeze: none"
            )
        head = [parameter for name, parameter in learning.items() if not name.startswith("backbone.")]
        rate = scale * self.hparams["lr"]
        return [{"params": head, "name": "head"}, {"params": backbone, "lr": rate, "name": "backbone"}]

    def configure_optimizers(self) -> Any:
        """Build the optimizer, and the scheduler if one is named.

        Raises:
            InputError: one of them does not take its arguments.
        """
        trainer = attached_trainer(self)
        clips = bool(getattr(trainer, "gradient_clip_val", None))
        optimizer = make_optimizer(self.optimizer_groups or self.parameter_groups(), self.hparams, clips)
        if self.hparams["scheduler"] is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": make_scheduler(optimizer, self.hparams, trainer)}

    def setup(self, stage: str) -> None:
        """Check the classes, take weights and attributes, change to channels-last layout, and compile if asked to.

        With `ModelPruning` the layout stays.

        Raises:
            InputError: the data have other classes, or do not tell how many images each has.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        if self.has_head and hasattr(data, "class_names"):  # a DataModule of another package may have none
            check_classes(self.class_names, data.class_names)
        for metrics in self.metrics.values():
            metrics.use_attributes(getattr(data, "class_attributes", {}))  # type: ignore[operator]
        if stage == "fit" and self.class_weights is not None and self.hparams["class_weights"] == "auto":
            self.class_weights.copy_(inverse_frequency(training_counts(data, len(self.class_names))))
        if not any(isinstance(one, ModelPruning) for one in self.trainer.callbacks):  # type: ignore[attr-defined]
            self.to(memory_format=torch.channels_last)  # PyTorch's pruning takes contiguous weights alone
        wanted = self.hparams["compile"]
        if stage == "fit" and (wanted is True or (wanted == "auto" and can_compile(self.trainer.strategy.root_device))):
            self.backbone.compile()  # in place, so that names in the state_dict stay as they are

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the name of the task, by which `carsfg.load` finds the class."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.setdefault("carsfg", {}).update(task_name(self))

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint in Lightning's way, but safely (`weights_only=True`) and without pretrained weights."""
        with skip_weights():
            return super().load_from_checkpoint(*args, **{"weights_only": True, **kwargs})

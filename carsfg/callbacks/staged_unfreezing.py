"""Progressive unfreezing: first the head learns, then more and more of the backbone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from carsfg.errors import InputError
from carsfg.tasks.base import CarsTask


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        modules: names of the modules that start to learn (`head`, `backbone.features.denseblock4`).
        epochs: length of the stage.
        lr: learning rate of all modules that learn in it.
    """

    modules: list[str]
    epochs: int
    lr: float


class StagedUnfreezing(Callback):
    """Let modules learn in stages, each with its epochs and its learning rate; other modules never learn.

    Each stage has a parameter group. Until the stage begins, its rate is 0 and its parameters have no gradients, so the
    optimizer's state of a stage (Adam's moments, momentum buffers) is empty when it begins. Modules of the backbone
    that do not learn are in eval mode: their BatchNorm statistics do not move, and nothing is dropped.

    One process does not compute the gradients of later stages at all. Under DDP they are computed, reduced and then
    removed, since parameters unfrozen after the wrap would not be reduced.

    Args:
        stages: in order; their epochs must sum to `trainer.max_epochs`.

    Raises:
        InputError: a module does not exist or is named twice, the epochs do not sum to `max_epochs`, or a scheduler
            or `backbone_lr_scale` would change the rates as well.
    """

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages

    def describe(self) -> dict[str, Any] | None:
        """Return the stages, for the run record."""
        return {"stages": [asdict(one) for one in self.stages]}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the parameter groups, before Lightning asks for the optimizer."""
        if stage != "fit":
            return
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        total = sum(one.epochs for one in self.stages)
        if trainer.max_epochs != total and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise InputError(
                f"the stages of StagedUnfreezing last {total} epochs, trainer.max_epochs is {trainer.max_epochs}"
            )
        if pl_module.hparams["scheduler"] is not None:
            raise InputError("StagedUnfreezing sets the learning rate itself: set model.scheduler: null beside it")
        if pl_module.hparams["backbone_lr_scale"] != 1:
            raise InputError("StagedUnfreezing sets the rate of each stage: set model.backbone_lr_scale: 1 beside it")
        pl_module.requires_grad_(False)
        pl_module.optimizer_groups = [self._group(pl_module, one) for one in self.stages]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the rates, gradients and modes of the stage of the current epoch."""
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        current = self._stage_of(trainer.current_epoch)
        for index, group in enumerate(trainer.optimizers[0].param_groups):
            group["lr"] = self.stages[current].lr if index <= current else 0.0
            for parameter in group["params"]:
                parameter.requires_grad_(index <= current or trainer.world_size > 1)
        learning = [name for one in self.stages[: current + 1] for name in one.modules]
        pl_module.frozen_modules = _outside(pl_module, learning)
        pl_module.train()

    on_train_start = on_train_epoch_start  # a run resumed within an epoch does not start that epoch again

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Remove the gradients of later stages, before gradients are clipped."""
        for group in optimizer.param_groups[self._stage_of(trainer.current_epoch) + 1 :]:
            for parameter in group["params"]:
                parameter.grad = None

    def _stage_of(self, epoch: int) -> int:
        for index, stage in enumerate(self.stages):
            epoch -= stage.epochs
            if epoch < 0:
                return index
        return len(self.stages) - 1

    def _group(self, task: CarsTask, stage: Stage) -> dict[str, Any]:
        parameters: list[nn.Parameter] = []
        for name in stage.modules:
            new = list(_find(task, name).parameters())
            if any(p.requires_grad for p in new):
                raise InputError(f"StagedUnfreezing names {name!r} twice")
            for parameter in new:
                parameter.requires_grad_(True)
            parameters += new
        return {"params": parameters, "lr": 0.0, "name": " + ".join(stage.modules)}


def _find(task: CarsTask, name: str) -> nn.Module:
    try:
        return task.get_submodule(name)
    except AttributeError:
        children = ", ".join(child for child, _ in task.backbone.named_children())
        raise InputError(f"StagedUnfreezing: no module {name!r}; the backbone has {children}") from None


def _outside(task: CarsTask, learning: Sequence[str]) -> list[nn.Module]:
    """Return the modules of the backbone that are not named, and neither contain nor lie inside a named module."""
    prefixes = tuple(f"{name}." for name in learning)
    named = ((f"{name}.", module) for name, module in task.named_modules())
    return [
        module
        for path, module in named
        if path.startswith("backbone.")
        and not path.startswith(prefixes)
        and not any(prefix.startswith(path) for prefix in prefixes)
    ]

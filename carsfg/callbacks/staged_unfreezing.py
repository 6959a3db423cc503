"""Progressive unfreezing: first the head learns, then more and more of the backbone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import nn

from carsfg.errors import InputError
from carsfg.tasks.base import CarsTask


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        modules: what joins in, as names under the task (`head`, `backbone.features.denseblock4`).
        epochs: how long the stage lasts.
        lr: learning rate of all that learns during it.
    """

    modules: list[str]
    epochs: int
    lr: float


class StagedUnfreezing(Callback):
    """Let modules learn in stages, each with its epochs and its rate; what no stage names never learns.

    Every stage has its parameter group, and gradients, from the first step on, at rate 0 until its turn: under DDP all
    processes so reduce the same parameters throughout (those unfrozen after the wrap would not be reduced). Modules
    of the backbone that do not learn stay in eval mode: their BatchNorm statistics stand still, and nothing is dropped.

    Args:
        stages: in order; their epochs must sum to `trainer.max_epochs`.

    Raises:
        InputError: a module does not exist or is named twice, the epochs do not add up, or a scheduler would change the
            rates as well.
    """

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the parameter groups, before Lightning asks for the optimiser."""
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
        pl_module.requires_grad_(False)
        pl_module.optimizer_groups = [self._group(pl_module, one) for one in self.stages]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the rates and the modes of the epoch's stage."""
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        current = self._stage_of(trainer.current_epoch)
        for index, group in enumerate(trainer.optimizers[0].param_groups):
            group["lr"] = self.stages[current].lr if index <= current else 0.0
        learning = [name for one in self.stages[: current + 1] for name in one.modules]
        pl_module.frozen_modules = _outside(pl_module, learning)
        pl_module.train()

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
    """Return the modules of the backbone that are none of the named ones, lie under none of them, and contain none."""
    prefixes = tuple(f"{name}." for name in learning)
    named = ((f"{name}.", module) for name, module in task.named_modules())
    return [
        module
        for path, module in named
        if path.startswith("backbone.")
        and not path.startswith(prefixes)
        and not any(prefix.startswith(path) for prefix in prefixes)
    ]

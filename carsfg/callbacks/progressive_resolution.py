"""Progressive resolution: train on small images first, which is faster, and on large images at the end."""

from dataclasses import asdict, dataclass
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from carsfg.errors import InputError
from carsfg.models.backbones import check_image_size
from carsfg.tasks.base import CarsTask


@dataclass(frozen=True)
class Size:
    """A period of training with one image size.

    Attributes:
        image_size: side of the network's input in pixels.
        epochs: length of the period.
    """

    image_size: int
    epochs: int


class ProgressiveResolution(Callback):
    """Train with an image size per epoch; validation, test and all later use have the task's `image_size`.

    Sizes above the task's count as the task's. There is a warning if the run ends before the last size begins.

    Args:
        sizes: in order; after their epochs, training goes on with the last size.

    Raises:
        InputError: no size is given, a number is below 1, or the network takes images of one size only.
    """

    def __init__(self, sizes: list[Size]) -> None:
        if not sizes or min(min(size.image_size, size.epochs) for size in sizes) < 1:
            raise InputError("ProgressiveResolution needs at least one size, and sizes and epochs of 1 or more")
        self.sizes = sizes

    def describe(self) -> dict[str, Any] | None:
        """Return the sizes, for the run record."""
        return {"sizes": [asdict(size) for size in self.sizes]}

    def logged_keys(self) -> set[str]:
        """Return the key of the size."""
        return {"image_size"}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the sizes against the length of the run and the network."""
        if pl_module.hparams.get("pooling") == "flatten":
            raise InputError("ProgressiveResolution: a CNN with model.pooling: flatten takes images of one size only")
        if stage == "fit":
            assert isinstance(pl_module, CarsTask)  # noqa: S101
            for size in self.sizes:
                check_image_size(
                    pl_module.backbone, min(size.image_size, pl_module.hparams["image_size"]), "the network"
                )
        begins = sum(size.epochs for size in self.sizes[:-1])
        if stage == "fit" and 0 <= (trainer.max_epochs or -1) <= begins and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_warn(
                f"ProgressiveResolution: the last size begins in epoch {begins + 1}, the run has {trainer.max_epochs}"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the size of the epoch."""
        self._set(trainer, pl_module)

    on_train_start = on_train_epoch_start  # a run resumed within an epoch does not start that epoch again

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the size of the epoch."""
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        pl_module.log("image_size", float(pl_module.preprocess.image_size))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the task's size: validation runs inside the training epoch."""
        self._restore(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the size of the epoch again: validation may run before the epoch ends."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._set(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the task's size."""
        self._restore(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the task's size."""
        self._restore(pl_module)

    def _set(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        own: int = pl_module.hparams["image_size"]
        pl_module.preprocess.image_size = min(own, self._size_in(trainer.current_epoch))

    def _restore(self, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        pl_module.preprocess.image_size = pl_module.hparams["image_size"]

    def _size_in(self, epoch: int) -> int:
        for size in self.sizes:
            epoch -= size.epochs
            if epoch < 0:
                return size.image_size
        return self.sizes[-1].image_size

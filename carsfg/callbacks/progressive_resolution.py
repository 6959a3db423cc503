"""Progressive resolution: learn on small images first, which is faster, and on large ones in the end."""

from dataclasses import dataclass

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from carsfg.errors import InputError
from carsfg.models.backbones import check_image_size
from carsfg.tasks.base import CarsTask


@dataclass(frozen=True)
class Size:
    """A stretch of training at one size.

    Attributes:
        image_size: side of the network's input, in pixels.
        epochs: how long.
    """

    image_size: int
    epochs: int


class ProgressiveResolution(Callback):
    """Train at a size an epoch; validation, test and all later use stay at the task's own `image_size`.

    No size goes beyond the task's own. A run that ends before the last size begins is warned of.

    Args:
        sizes: in order; when their epochs are over, training goes on at the last.

    Raises:
        InputError: no size is given, a number is below 1, or the network takes images of one size alone.
    """

    def __init__(self, sizes: list[Size]) -> None:
        if not sizes or min(min(size.image_size, size.epochs) for size in sizes) < 1:
            raise InputError("ProgressiveResolution needs at least one size, and sizes and epochs of 1 or more")
        self.sizes = sizes

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare the sizes with the run and the network."""
        if pl_module.hparams.get("pooling") == "flatten":
            raise InputError("ProgressiveResolution: a CNN with model.pooling: flatten takes images of one size alone")
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
        """Set the epoch's size."""
        self._set(trainer, pl_module)
        assert isinstance(pl_module, CarsTask)  # noqa: S101
        pl_module.log("image_size", float(pl_module.preprocess.image_size), on_epoch=True, on_step=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the task's own size; validation runs inside the training epoch."""
        self._restore(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on at the epoch's size, where validation ran in its midst."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._set(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the task's own size."""
        self._restore(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Go back to the task's own size."""
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

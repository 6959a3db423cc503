"""Training sizes by epoch, and the task's own everywhere else."""

from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from carsfg.callbacks.progressive_resolution import ProgressiveResolution, Size
from carsfg.errors import InputError
from carsfg.tasks.base import CarsTask
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def test_sizes_by_epoch(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, seen = make_task(image_size=40), []
    embed = task.embed_images

    def watch(images: Tensor) -> Tensor:
        seen.append(("train" if task.training else "eval", images.shape[-1]))
        return embed(images)

    task.embed_images = watch  # type: ignore[method-assign]
    steps: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}
    sizes = ProgressiveResolution([Size(24, 1), Size(32, 1), Size(48, 1)])
    trainer = make_trainer(max_epochs=3, callbacks=[sizes], **steps)
    trainer.fit(task, make_cars(image_size=None))
    trainer.test(task, make_cars(image_size=None), verbose=False)
    trained = [("train", 24), ("eval", 40), ("train", 32), ("eval", 40), ("train", 40), ("eval", 40)]
    assert seen == [*trained, ("eval", 40)]
    assert task.preprocess.image_size == task.hparams["image_size"] == 40


def test_the_last_size_lasts_and_none_goes_beyond_the_task_s_own(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    class Sizes(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            assert isinstance(pl_module, CarsTask)
            seen.append(pl_module.preprocess.image_size)

    seen: list[Any] = []
    sizes = ProgressiveResolution([Size(24, 1), Size(36, 1), Size(48, 1)])
    short: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 0}
    trainer = make_trainer(callbacks=[sizes, Sizes()], max_epochs=5, **short)
    trainer.fit(make_task(image_size=40), make_cars(image_size=None))
    assert seen == [24, 36, 40, 40, 40]
    assert trainer.callback_metrics["image_size"] == 40


def test_the_sizes_are_described() -> None:
    sizes = ProgressiveResolution([Size(24, 1), Size(36, 2)])
    assert sizes.describe() == {"sizes": [{"image_size": 24, "epochs": 1}, {"image_size": 36, "epochs": 2}]}


def test_validation_within_an_epoch(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, seen = make_task(image_size=40), []
    embed = task.embed_images
    task.embed_images = lambda images: (seen.append(images.shape[-1]), embed(images))[1]  # type: ignore[method-assign, func-returns-value]
    sizes = ProgressiveResolution([Size(32, 1)])
    steps: dict[str, Any] = {"limit_train_batches": 4, "limit_val_batches": 1, "val_check_interval": 2}
    make_trainer(callbacks=[sizes], **steps).fit(task, make_cars(image_size=None))
    assert seen == [32, 32, 40, 32, 32, 40]


def test_a_run_too_short_for_its_sizes(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    sizes = ProgressiveResolution([Size(24, 3), Size(32, 1)])
    trainer = make_trainer(max_epochs=3, callbacks=[sizes], limit_train_batches=1, limit_val_batches=0)
    with pytest.warns(UserWarning, match="the last size begins in epoch 4, the run has 3"):
        trainer.fit(make_task(), make_cars(image_size=None))


def test_a_broken_off_run_leaves_the_task_at_its_own_size(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(image_size=40)
    task.training_step = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    with pytest.raises(ZeroDivisionError):
        make_trainer(callbacks=[ProgressiveResolution([Size(32, 1)])]).fit(task, make_cars(image_size=None))
    assert task.preprocess.image_size == 40


@pytest.mark.parametrize("sizes", [[], [Size(0, 1)], [Size(32, -5)]])
def test_sizes_that_do_not_exist(sizes: list[Size]) -> None:
    with pytest.raises(InputError, match="at least one size, and sizes and epochs of 1 or more"):
        ProgressiveResolution(sizes)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule

from carsfg.callbacks import ConfusionMatrix, EpochSummary, NeighbourPanels, ScalarLayout
from carsfg.callbacks.reuse_frozen_backbone import ReuseFrozenBackbone, features_key
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.tasks.checkpoints import read_checkpoint
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer

Fit = Callable[..., tuple[CarClassifier, dict[str, float], list[int]]]


def count(task: CarClassifier) -> list[int]:
    """The batch sizes of all calls of the backbone from now on."""
    calls: list[int] = []
    task.backbone.register_forward_hook(lambda *call: calls.append(len(call[2])))
    return calls


@pytest.fixture
def fit(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path) -> Fit:
    """Trains and tests, with the callback or without; gives the task, all figures, and the backbone's batch sizes."""

    def run(reuse: bool, cars: dict[str, Any] | None = None, task: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        network = make_task(**{"freeze": "backbone", "dropout": 0.5, "lr": 0.01, **(task or {})})
        data, calls = make_cars(**{"cache_dir": str(tmp_path), **(cars or {})}), count(network)
        trainer = make_trainer(**{"max_epochs": 3, "callbacks": [ReuseFrozenBackbone()] if reuse else [], **kwargs})
        trainer.fit(network, data)
        figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
        trainer.test(network, data, verbose=False)
        return network, {**figures, **{k: float(v) for k, v in trainer.callback_metrics.items()}}, calls

    return run


def test_the_same_run_in_one_pass(fit: Fit) -> None:
    plain, figures, plain_calls = fit(False)
    reused, same_figures, calls = fit(True)
    assert sum(calls) == 60  # 40 train and 20 test images, once
    assert sum(plain_calls) == 3 * 36 + 3 * 4 + 20
    # not bit by bit: the last batch of a split has another size, and sums are rounded in another order
    torch.testing.assert_close(reused.head.weight, plain.head.weight, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reused.head.bias, plain.head.bias, atol=1e-5, rtol=1e-5)
    assert same_figures == pytest.approx(figures, rel=1e-4)
    assert {"train/loss", "val/loss", "test/loss", "test/top1"} <= set(figures)


def test_a_gallery_is_reused_too(fit: Fit) -> None:
    calls = fit(True, cars={"retrieval": "closed_train_gallery"})[2]
    assert sum(calls) == 60


@pytest.mark.parametrize(
    "changes",
    [
        {"cars": {"augment": "crop_flip_rotate"}},
        {"cars": {"box_jitter": 0.2}},
        {"task": {"freeze": "none"}},
        {"fast_dev_run": True},
        {"fast_dev_run": 2},
        {"limit_train_batches": 1},  # one batch, unlike 1.0
        {"limit_val_batches": 1},
    ],
)
def test_the_plain_way_elsewhere(fit: Fit, changes: dict[str, Any]) -> None:
    calls = fit(True, **{"max_epochs": 1, **changes})[2]
    assert calls == fit(False, **{"max_epochs": 1, **changes})[2]


def test_another_run_finds_the_output_on_disk(fit: Fit, tmp_path: Path) -> None:
    first, figures, _ = fit(True)
    again, same_figures, calls = fit(True)
    assert calls == []
    assert torch.equal(first.head.weight, again.head.weight)
    assert same_figures == figures
    assert len(list(tmp_path.glob("features-*.pt"))) == 1


@pytest.mark.parametrize("changes", [{"task": {"mean": (0.5, 0.5, 0.5)}}, {"cars": {"image_size": 40}}])
def test_other_preprocessing_is_another_output(fit: Fit, changes: dict[str, Any]) -> None:
    fit(True, max_epochs=1)
    assert sum(fit(True, **{"max_epochs": 1, **changes})[2]) == 60


def test_another_backbone_is_another_output(fit: Fit) -> None:
    fit(True, max_epochs=1)
    torch.manual_seed(1)
    assert sum(fit(True, task={"backbone": "squeezenet1_1"}, max_epochs=1)[2]) == 60


def test_the_next_network_gets_its_own(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    data = make_cars(cache_dir=str(tmp_path))
    make_trainer(callbacks=[ReuseFrozenBackbone()]).fit(make_task(freeze="backbone"), data)
    assert data.features is None
    torch.manual_seed(1)
    other = CarClassifier(TINY_RESNET, None, class_names=data.class_names, image_size=32)
    calls = count(other)
    make_trainer().test(other, data, verbose=False)
    assert sum(calls) == 20


def test_other_weights_are_not_tested_on_old_output(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    data, other, task = make_cars(cache_dir=str(tmp_path)), make_task(), make_task(freeze="backbone")
    trainer = make_trainer(limit_val_batches=0)
    trainer.fit(other, data)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    trainer = make_trainer(callbacks=[ReuseFrozenBackbone()])
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    calls = count(task)
    for name, images in (("own", 0), ("other", 20)):
        trainer.test(task, data, ckpt_path=str(tmp_path / f"{name}.ckpt"), weights_only=True, verbose=False)
        assert sum(calls) == images
    for name, images in (("own", 20), ("other", 40)):  # loaded by hand, as after `carsfg fit`
        task.load_state_dict(read_checkpoint(tmp_path / f"{name}.ckpt")["state_dict"])
        trainer.test(task, data, verbose=False)
        assert sum(calls) == images


def test_an_interrupted_run_leaves_nothing(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    class Broken(ReuseFrozenBackbone):
        def on_train_batch_start(self, *args: Any) -> None:
            raise ZeroDivisionError

    data: StanfordCarsDataModule = make_cars(cache_dir=str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        make_trainer(callbacks=[Broken()]).fit(make_task(freeze="backbone"), data)
    assert data.features is None


def test_the_precision_is_part_of_the_key(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    data, keys = make_cars(), []
    for precision in ("32-true", "bf16-mixed", "32-true"):
        trainer = make_trainer(precision=precision)
        trainer.datamodule = data  # type: ignore[attr-defined]
        keys.append(features_key(trainer, make_task(freeze="backbone")))
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize(
    "callback", [ReuseFrozenBackbone, ConfusionMatrix, NeighbourPanels, EpochSummary, ScalarLayout]
)
def test_callbacks_that_change_neither_weights_nor_metrics_describe_nothing(callback: Any) -> None:
    assert callback().describe() is None


def test_data_of_a_user_s_own_is_loaded_as_it_is(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    class Mine(LightningDataModule):
        class_names = NAMES

        def train_dataloader(self) -> Any:
            return cars.train_dataloader()

    cars = make_cars()
    cars.prepare_data()
    cars.setup("fit")
    task = make_task(freeze="backbone")
    calls = count(task)
    make_trainer(callbacks=[ReuseFrozenBackbone()]).fit(task, datamodule=Mine())
    assert sum(calls) == 36

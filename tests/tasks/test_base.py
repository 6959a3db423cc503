import json
import shutil
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from carsfg.errors import InputError
from carsfg.tasks.base import CarsTask
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer


class Rates(Callback):
    """Notes the learning rate of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


class Dropped(Callback):
    """Notes what torch's random state gives at the first step of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            with torch.random.fork_rng(devices=[]):
                self.seen.append(float(torch.rand(())))


SQUEEZE = {"backbone": "squeezenet1_1", "freeze": "backbone"}


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"optimizer": "Adamm"}, "unknown optimizer 'Adamm': torch.optim has no such class"),
        ({"scheduler": "Step"}, "unknown scheduler 'Step': torch.optim.lr_scheduler has no such class"),
        ({"scheduler": "lr_scheduler"}, "unknown scheduler 'lr_scheduler'"),
    ],
)
def test_unknown_names(make_task: MakeTask, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_task(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"optimizer_args": {"momentun": 0.9}}, "optimizer Adam: .*unexpected keyword argument 'momentun'"),
        ({"lr": -1.0}, "optimizer Adam: Invalid learning rate: -1.0"),
        ({"scheduler": "StepLR"}, "scheduler StepLR: .*missing 1 required positional argument: 'step_size'"),
    ],
)
def test_arguments_that_do_not_fit(make_task: MakeTask, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_task(**kwargs).configure_optimizers()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"image_size": 0}, r"model.image_size 0 must be in 1\.\.2048"),
        ({"image_size": 2049}, r"model.image_size 2049 must be in 1\.\.2048"),
        ({"std": [0.0, 0.5, 0.5]}, r"model\.std is \[0\.0, 0\.5, 0\.5\]: give three numbers above 0"),
        ({"mean": [0.5]}, r"model\.mean is \[0\.5\]: give three numbers"),
        ({"mean": [0.5, 0.5, float("nan")]}, r"model\.mean is \[0\.5, 0\.5, nan\]: give three numbers"),
        ({"label_smoothing": 2.0}, r"model.label_smoothing 2.0 in 0\.\.1"),
        ({"dropout": 3.0}, r"model.dropout is 3.0: give a probability in 0\.\.1"),
        ({"class_names": ["Audi TT Coupe 2011"]}, "there is 1 class to learn: a network needs at least 2"),
    ],
)
def test_numbers_out_of_range(make_task: MakeTask, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_task(**kwargs)


def test_gradients_are_clipped_in_mixed_precision(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer(precision="bf16-mixed", gradient_clip_val=1.0, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(make_task(**SQUEEZE), make_cars())  # Lightning refuses to, for a fused optimiser
    assert trainer.global_step == 1


def test_optimiser_takes_its_arguments(make_task: MakeTask) -> None:
    task = make_task(optimizer="SGD", lr=0.5, weight_decay=0.25, optimizer_args={"momentum": 0.75}, freeze="backbone")
    optimizer = task.configure_optimizers()
    assert type(optimizer) is torch.optim.SGD
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    assert optimizer.param_groups[0]["momentum"] == 0.75
    assert [p.shape for p in optimizer.param_groups[0]["params"]] == [(4, 96), (4,)]


def test_rates_of_step_lr(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    rates = Rates()
    scheduler = {"scheduler": "StepLR", "scheduler_args": {"step_size": 7, "gamma": 0.1}}
    trainer = make_trainer(max_epochs=10, limit_train_batches=1, limit_val_batches=0, callbacks=[rates])
    trainer.fit(make_task(**SQUEEZE, lr=1e-3, **scheduler), make_cars())
    assert rates.seen == pytest.approx([1e-3] * 7 + [1e-4] * 3)


def test_scheduler_by_step(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task = make_task(
        **SQUEEZE, lr=1.0, scheduler="ExponentialLR", scheduler_args={"gamma": 0.5}, scheduler_interval="step"
    )
    trainer = make_trainer(limit_train_batches=3, limit_val_batches=0)
    trainer.fit(task, make_cars())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.125


def test_a_data_module_need_not_name_its_classes(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    class Nameless(LightningDataModule):
        def train_dataloader(self) -> Any:
            return cars.train_dataloader()

    cars = make_cars()
    cars.prepare_data()
    cars.setup("fit")
    trainer = make_trainer(fast_dev_run=1)
    trainer.fit(make_task(**SQUEEZE), datamodule=Nameless())
    assert trainer.global_step == 1


def test_keys_of_the_figures(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, cars, trainer = make_task(**SQUEEZE), make_cars(), make_trainer()
    trainer.fit(task, cars)
    averages = {f"{name}_{how}" for name in ("precision", "recall", "f1") for how in ("weighted", "macro")}
    scores = {"loss", "top1", "top5", "make", "body", "year"} | averages
    val = {f"val/{key}" for key in scores}
    assert set(trainer.callback_metrics) == val | {"train/loss", "train/top1", "loss", "val_top1"}
    trainer.test(task, cars, verbose=False)
    assert set(trainer.callback_metrics) == {f"test/{key}" for key in scores} | {"test_top1"}


def test_figures_are_those_of_a_plain_pass(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, cars, trainer = make_task(), make_cars(), make_trainer()
    trainer.test(task, cars, verbose=False)
    task.eval()
    with torch.no_grad():
        (loader,) = cars.test_dataloader()
        outputs = [(task(batch["image"])["logits"], batch["label"]) for batch in loader]
    logits, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    assert len(labels) == 20
    figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert figures["test/top1"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert figures["test/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)


def test_gallery_is_embedded_and_not_scored(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    figures = []
    for retrieval in ("closed_loo", "closed_train_gallery"):
        trainer = make_trainer()
        trainer.test(make_task(**SQUEEZE), make_cars(retrieval=retrieval), verbose=False)
        figures.append({key: float(value) for key, value in trainer.callback_metrics.items()})
    assert figures[0] == figures[1]


def test_no_head_figures_for_unseen_classes(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    cars, trainer = make_cars(protocol="zero_shot"), make_trainer()
    trainer.test(make_task(**SQUEEZE, class_names=cars.class_names), cars, verbose=False)
    assert dict(trainer.callback_metrics) == {}


def test_predictions_carry_the_index(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    batches: Any = make_trainer().predict(make_task(**SQUEEZE), make_cars())
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(20))
    assert batches[0]["embedding"].shape == (8, 512)
    assert batches[0]["logits"].shape == (8, 4)


def test_random_state_is_that_of_the_epoch(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    """Whatever was drawn before: so a resumed run repeats an uninterrupted one."""
    seen = []
    for disturb in (1, 2):
        dropped = Dropped()
        trainer = make_trainer(max_epochs=2, limit_train_batches=1, limit_val_batches=0, callbacks=[dropped])
        task = make_task(**SQUEEZE)
        torch.manual_seed(disturb)
        trainer.fit(task, make_cars())
        seen.append(dropped.seen)
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]


def test_data_of_other_classes_are_refused(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task = make_task(class_names=["Audi TT Coupe 2011", "BMW M3 Coupe 2012"])
    with pytest.raises(InputError, match="trained on 2 classes, the data has 4; first difference at label 0: 'Audi"):
        make_trainer().fit(task, make_cars())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_a_compiled_backbone_learns_the_same(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    plain, compiled = make_task(compile=False), make_task(compile=True)
    for task in (plain, compiled):
        make_trainer(max_steps=2, limit_val_batches=0).fit(task, make_cars())
    # torch has no public way to ask whether a module is compiled
    assert compiled.backbone._compiled_call_impl is not None
    assert plain.backbone._compiled_call_impl is None
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(compiled.head.weight, plain.head.weight, atol=1e-3, rtol=1e-2)


def test_on_a_cpu_nothing_is_compiled_by_itself(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task()
    make_trainer(max_steps=1, limit_val_batches=0).fit(task, make_cars())
    assert task.backbone._compiled_call_impl is None


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (2, 32, 32, 3)])
def test_images_of_another_shape(shape: tuple[int, ...], make_task: MakeTask) -> None:
    with pytest.raises(InputError, match=r"images must be \(batch, 3, height, width\)"):
        make_task()(torch.zeros(shape, dtype=torch.uint8))


def test_each_process_drops_other_units(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = make_task(**SQUEEZE), []
    for rank in (0, 1, 0):
        monkeypatch.setattr(CarsTask, "global_rank", rank)
        task.on_train_epoch_start()
        seen.append(float(torch.rand(())))
    assert seen[0] == seen[2] != seen[1]


def test_the_description_is_plain_json_without_paths(make_task: MakeTask) -> None:
    described = make_task(optimizer="SGD", mean=(0.5, 0.5, 0.5), optimizer_args={"momentum": 0.9}).describe()
    assert described["class_path"] == "carsfg.tasks.classifier.CarClassifier"
    assert (described["backbone"], described["optimizer_args"]) == (TINY_RESNET, {"momentum": 0.9})
    assert described["mean"] == [0.5, 0.5, 0.5]  # a list, as JSON gives it back
    assert not {"class_names", "weights", "init_from", "compile"} & described.keys()
    assert json.loads(json.dumps(described)) == described


class BareLoss(CarClassifier):
    """A user's task that returns the loss only."""

    def loss(self, embedding: Tensor, labels: Tensor) -> Any:
        return torch.nn.functional.cross_entropy(self.classify(embedding), labels)


class DoubledLoss(CarClassifier):
    """A user's task as the documentation of CarsTask describes it."""

    def loss(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        loss, logits, _ = super().loss(embedding, labels)
        return 2 * loss, logits, {"half": loss}


def fitted(cls: type[CarClassifier], make_cars: MakeCars, trainer: Trainer) -> dict[str, float]:
    trainer.fit(cls("squeezenet1_1", None, image_size=32, class_names=NAMES), make_cars())
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def test_a_loss_of_another_form_is_refused(make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match=r"BareLoss\.loss returns 'Tensor': return \(loss, logits, parts\)"):
        fitted(BareLoss, make_cars, make_trainer(limit_train_batches=1, limit_val_batches=0))


def test_a_loss_of_one_s_own(make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    metrics = fitted(DoubledLoss, make_cars, make_trainer(limit_train_batches=1, limit_val_batches=0))
    assert metrics["train/loss"] == pytest.approx(2 * metrics["train/half"])

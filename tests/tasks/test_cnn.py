"""CarCNN: the configs' networks learn, and behave as a task does."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import carsfg
from carsfg.configs import CONFIGS
from carsfg.errors import InputError
from carsfg.models.cnn import CustomCNN
from carsfg.tasks.base import CarsTask
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, MakeCars, MakeTrainer

EXPERIMENTS = sorted(path.stem for path in CONFIGS.glob("cnn_*.yaml"))
SMALL: dict[str, Any] = {"class_names": NAMES, "widths": [8, 16], "image_size": 32}
IMAGES = torch.arange(2 * 3 * 40 * 40).remainder(251).view(2, 3, 40, 40).to(torch.uint8)


def learnable(experiment: str) -> dict[str, Any]:
    """The network and the optimiser of a config, without what keeps it from learning by heart."""
    arguments = yaml.safe_load((CONFIGS / f"{experiment}.yaml").read_text())["model"]["init_args"]
    return {**arguments, "image_size": 32, "dropout": 0.0, "scheduler": None, "label_smoothing": 0.0}


DISTINCT = {str(sorted(learnable(experiment).items())): experiment for experiment in EXPERIMENTS}


@pytest.mark.parametrize("experiment", DISTINCT.values())
def test_a_batch_can_be_overfitted(experiment: str, make_cars: MakeCars) -> None:
    torch.manual_seed(0)
    task, cars = CarCNN(class_names=NAMES, **learnable(experiment)), make_cars()
    cars.prepare_data()
    cars.setup("fit")
    batch = next(iter(cars.train_dataloader()))
    optimizer = task.configure_optimizers()
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(task(batch["image"])["logits"], batch["label"])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss < 0.2  # chance: 1.39


def test_embedding_and_logits() -> None:
    task = CarCNN(**SMALL, dropout=0.5)
    out = task.eval()(IMAGES)
    assert {key: tuple(value.shape) for key, value in out.items()} == {"embedding": (2, 16), "logits": (2, 4)}
    assert torch.equal(task.embed({"image": IMAGES}), out["embedding"])


def test_trains_through_the_trainer(make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, trainer = CarCNN(**SMALL), make_trainer()
    trainer.fit(task, make_cars())
    trainer.test(task, make_cars(), verbose=False)
    assert "test/top1" in trainer.callback_metrics


def test_a_checkpoint_brings_the_network_back(make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    task, trainer = CarCNN(**SMALL, residual=True, stem=2, pooling="max"), make_trainer(limit_train_batches=1)
    trainer.fit(task, make_cars())
    trainer.save_checkpoint(tmp_path / "cnn.ckpt")
    loaded = carsfg.load(tmp_path / "cnn.ckpt")
    assert type(loaded) is CarCNN
    assert torch.equal(loaded(IMAGES)["logits"], task.eval()(IMAGES)["logits"])


def test_starts_from_a_checkpoint_or_from_weights(
    make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    task, trainer = CarCNN(**SMALL), make_trainer(limit_train_batches=1)
    trainer.fit(task, make_cars())
    trainer.save_checkpoint(tmp_path / "cnn.ckpt")
    torch.save(task.backbone.state_dict(), tmp_path / "backbone.pt")
    expected = task.eval()(IMAGES)
    again = CarCNN(**SMALL, init_from=str(tmp_path / "cnn.ckpt")).eval()(IMAGES)
    assert torch.equal(again["logits"], expected["logits"])
    backbone_alone = CarCNN(**SMALL, weights=str(tmp_path / "backbone.pt")).eval()(IMAGES)
    assert torch.equal(backbone_alone["embedding"], expected["embedding"])
    with pytest.raises(InputError, match=r"cannot start from .*cnn\.ckpt: its backbone \(CarCNN's\)"):
        CarCNN(**{**SMALL, "widths": [8, 32]}, init_from=str(tmp_path / "cnn.ckpt"))
    with pytest.raises(InputError, match=r"weights .*backbone\.pt have another shape at blocks\.2"):
        CarCNN(**{**SMALL, "widths": [8, 32]}, weights=str(tmp_path / "backbone.pt"))


def test_no_such_weights() -> None:
    with pytest.raises(InputError, match=r"no weights file nowhere\.pt"):
        CarCNN(**SMALL, weights="nowhere.pt")


def test_the_arguments_of_the_network_are_those_of_the_task() -> None:
    """They are listed twice, for the command line: with equal types and defaults."""
    task, network = (inspect.signature(one).parameters for one in (CarCNN, CustomCNN))
    shared = {name: one for name, one in network.items() if name != "image_size"}  # which every task has
    assert [task[name] for name in shared] == list(shared.values())
    assert {*shared} - {"he_init"} == {*CarCNN.network_arguments} - {*CarsTask.network_arguments}

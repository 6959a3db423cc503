"""Weights of the classes: their formula, the loss they give, and where they are kept."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

import carsfg
from carsfg.errors import InputError
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from carsfg.tasks.losses import cross_entropy, inverse_frequency
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # probabilities 3/4 and 1/4, 1/2 and 1/2
SQUEEZE = {"backbone": "squeezenet1_1"}


class Foreign(LightningDataModule):
    """A DataModule that tells the number of images per class only if it is given."""

    def __init__(self, cars: Any, counts: Any = None) -> None:
        super().__init__()
        self.cars, self.class_names = cars, cars.class_names
        if counts is not None:
            self.train_class_counts = counts

    def prepare_data(self) -> None:
        self.cars.prepare_data()

    def setup(self, stage: str) -> None:
        self.cars.setup(stage)

    def train_dataloader(self) -> Any:
        return self.cars.train_dataloader()

    def val_dataloader(self) -> Any:
        return self.cars.val_dataloader()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5], [1, 1]),
        ([6, 2], [2 / 3, 2]),  # 8 / (2 x 6) and 8 / (2 x 2); their mean over 8 images is 1
        ([6, 2, 0, 0], [2 / 3, 2, 0, 0]),  # 1/3 and 1 with four classes, divided by their mean 1/2
        ([99, 1], [100 / 198 / 0.6, 10 / 0.6]),  # 50 is capped at 10: (99 x 100 / 198 + 10) / 100 = 0.6
    ],
)
def test_rare_classes_count_more(counts: list[int], expected: list[float]) -> None:
    weights = inverse_frequency(torch.tensor(counts))
    assert weights.tolist() == pytest.approx(expected)
    assert weights.dtype == torch.float32
    assert (weights * torch.tensor(counts)).sum().item() == pytest.approx(sum(counts))


def test_weighted_cross_entropy() -> None:
    weights = torch.tensor([0.5, 2.0])
    right, wrong, even = -math.log(3 / 4), -math.log(1 / 4), math.log(2)
    loss = cross_entropy(LOGITS, torch.tensor([0, 1]), 0.0, weights)
    assert loss.item() == pytest.approx((0.5 * right + 2 * even) / 2)  # by the number of images, not of weights
    smoothed = cross_entropy(LOGITS[:1], torch.tensor([0]), 0.2, weights)
    assert smoothed.item() == pytest.approx(0.9 * 0.5 * right + 0.1 * 2 * wrong)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0])])
def test_labels_as_shares_give_the_same_loss(weights: Tensor | None) -> None:
    labels = torch.tensor([0, 1])
    shares = torch.nn.functional.one_hot(labels).float()
    torch.testing.assert_close(cross_entropy(LOGITS, shares, 0.2, weights), cross_entropy(LOGITS, labels, 0.2, weights))


def test_weights_of_one_change_nothing() -> None:
    labels = torch.tensor([0, 1])
    plain = cross_entropy(LOGITS, labels, 0.1)
    assert cross_entropy(LOGITS, labels, 0.1, torch.ones(2)).item() == pytest.approx(plain.item())
    assert cross_entropy(LOGITS.bfloat16(), labels, 0.1, torch.ones(2)).dtype == torch.float32


@pytest.mark.parametrize("kind", ["classifier", "cnn", "embedder"])
def test_every_task_weights_its_cross_entropy(kind: str, make_task: MakeTask) -> None:
    small: dict[str, Any] = {"class_names": NAMES, "image_size": 32}
    narrow = {"widths": [8, 16], "image_size": 32}
    make: dict[str, Any] = {
        "classifier": lambda **kwargs: make_task(**SQUEEZE, **kwargs),
        "cnn": lambda **kwargs: CarCNN(widths=[8, 16], **small, **kwargs),
        "embedder": lambda **kwargs: EmbeddingExtractor("custom_cnn", narrow, None, **small, **kwargs),
    }
    plain, weighted = make[kind](), make[kind](class_weights=[3.0, 1.0, 1.0, 0.0])
    weighted.load_state_dict(plain.state_dict(), strict=False)
    embedding = torch.rand(2, plain.head.in_features)
    for label, weight in ((0, 3), (1, 1), (3, 0)):
        labels = torch.tensor([label, label])
        one, other = (task.loss(embedding, labels)[0].item() for task in (plain, weighted))
        assert other == pytest.approx(weight * one)


def test_auto_takes_the_counts_of_the_data(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """A checkpoint tells the weights, also that of averaged weights, and the run record says `auto`."""
    data = Foreign(make_cars(), torch.tensor([6, 2, 0, 0]))
    task = make_task(**SQUEEZE, class_weights="auto")
    trainer = make_trainer(limit_train_batches=1, callbacks=[EMAWeightAveraging(decay=0.5)])
    trainer.fit(task, data)
    trainer.save_checkpoint(tmp_path / "auto.ckpt")
    kept = carsfg.load(tmp_path / "auto.ckpt")
    assert kept.class_weights is not None
    assert kept.class_weights.tolist() == pytest.approx([2 / 3, 2, 0, 0])
    assert task.describe()["class_weights"] == "auto"


def test_validation_is_unweighted(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    losses = []
    for weights in ("none", [9.0, 1.0, 0.0, 5.0]):
        trainer = make_trainer()
        trainer.validate(make_task(**SQUEEZE, class_weights=weights), make_cars(), verbose=False)
        losses.append(float(trainer.callback_metrics["val/loss"]))
    assert losses[0] == losses[1]


def test_auto_without_counts(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    words = r"'auto' needs the training images per class, but Foreign has no train_class_counts: add it \(int64, one"
    with pytest.raises(InputError, match=words):
        make_trainer().fit(make_task(**SQUEEZE, class_weights="auto"), Foreign(make_cars()))
    with pytest.raises(InputError, match=r"train_class_counts of Foreign has shape \(3,\), there are 4 classes"):
        make_trainer().fit(make_task(**SQUEEZE, class_weights="auto"), Foreign(make_cars(), [1, 2, 3]))
    cars = make_cars()
    cars.prepare_data()
    cars.setup("fit")
    with pytest.raises(InputError, match="but loaders without a DataModule have no train_class_counts"):
        make_trainer().fit(make_task(**SQUEEZE, class_weights="auto"), cars.train_dataloader())


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 2.0], "model.class_weights has 2 numbers, there are 4 classes: one each"),
        ("balanced", "unknown model.class_weights 'balanced': use none, auto, or a list"),
        ([1.0, 1.0, 1.0, -1.0], r"\[1\.0, 1\.0, 1\.0, -1\.0\] must be finite numbers of 0 or more"),
        ([1.0, 1.0, 1.0, math.inf], "must be finite numbers of 0 or more"),
        ([0.0] * 4, "one of them above 0"),
    ],
)
def test_weights_that_do_not_fit(weights: Any, words: str, make_task: MakeTask) -> None:
    with pytest.raises(InputError, match=words):
        make_task(**SQUEEZE, class_weights=weights)


def test_weights_are_plain_hyper_parameters(make_task: MakeTask) -> None:
    task = make_task(**SQUEEZE, class_weights=[1.0, 2.0, 3.0, 4.0])
    assert json.loads(json.dumps(dict(task.hparams)))["class_weights"] == [1.0, 2.0, 3.0, 4.0]
    assert "class_weights" not in make_task(**SQUEEZE).state_dict()  # as in checkpoints that know none

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric

from carsfg.tasks.metrics import ClassificationMetrics, WeightedMean, averaged_scores

NAMES = ["Audi TT Coupe 2011", "Audi A5 Coupe 2012", "BMW M3 Coupe 2012", "BMW X3 SUV 2012"]
ATTRIBUTES = {
    "make": ["Audi", "Audi", "BMW", "BMW"],
    "body": ["Coupe", "Coupe", "Coupe", "SUV"],
    "year": ["2011", "2012", "2012", "2012"],
}
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
PREDICTED = torch.tensor([0, 0, 1, 1, 2, 3])
LOGITS = 2.0 * torch.nn.functional.one_hot(PREDICTED, 4)

RIGHT = {
    # log(e^2 + 3) for all, less 2 where the prediction is right, as it is for three of six
    "loss": 2.340753 - 1.0,
    "top1": 3 / 6,
    "top5": 1.0,  # of four classes
    # class: TP, FP, FN = 0: 2, 0, 1   1: 1, 1, 1   2: 0, 1, 1   3: 0, 1, 0
    "precision_weighted": (3 * 1 + 2 * 1 / 2) / 6,
    "precision_macro": (1 + 1 / 2) / 4,
    "recall_weighted": 3 / 6,
    "recall_macro": (2 / 3 + 1 / 2) / 4,
    "f1_weighted": (3 * 4 / 5 + 2 * 2 / 4) / 6,
    "f1_macro": (4 / 5 + 2 / 4) / 4,
    "make": 5 / 6,  # all but BMW for Audi
    "body": 5 / 6,  # all but SUV for Coupe
    "year": 5 / 6,  # all but 2012 for 2011
}


def figures(metrics: ClassificationMetrics) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.compute().items()}


@pytest.mark.parametrize("cuts", [[6], [1, 5], [2, 3, 1], [1] * 6])
def test_literal_answers_however_it_is_cut(cuts: list[int]) -> None:
    metrics = ClassificationMetrics(4, ATTRIBUTES)
    for logits, labels in zip(torch.split(LOGITS, cuts), torch.split(LABELS, cuts), strict=True):
        metrics.update(logits, labels)
    assert figures(metrics) == pytest.approx(RIGHT, abs=1e-6)


def test_scores_of_predicted_labels() -> None:
    shared = {key: RIGHT[key] for key in RIGHT if key == "top1" or key.endswith(("_weighted", "_macro"))}
    assert averaged_scores(PREDICTED, LABELS) == pytest.approx(shared, abs=1e-6)


def test_reset_forgets() -> None:
    metrics = ClassificationMetrics(4, ATTRIBUTES)
    metrics.update(-LOGITS, LABELS.flip(0))
    metrics.compute()
    metrics.reset()
    metrics.update(LOGITS, LABELS)
    assert figures(metrics) == pytest.approx(RIGHT, abs=1e-6)


def many(count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(count, classes, generator=random), torch.randint(classes, (count,), generator=random)


@pytest.mark.parametrize("first_batch_right", [True, False])
def test_top5_is_its_own_whatever_comes_first(first_batch_right: bool) -> None:
    # torchmetrics, left alone, merges metrics whose counts agree after the first batch
    logits, labels = many(200, 20)
    place = torch.arange(10) + (0 if first_batch_right else 10)
    metrics = ClassificationMetrics(20)
    first = torch.nn.functional.one_hot(place, 20) + torch.linspace(0, 0.1, 20)
    metrics.update(first, torch.arange(10))
    metrics.update(logits, labels)
    logits, labels = torch.cat([first, logits]), torch.cat([torch.arange(10), labels])
    among = (logits.argsort(1, descending=True)[:, :5] == labels[:, None]).any(1)
    assert figures(metrics)["top5"] == pytest.approx(among.float().mean().item())
    assert figures(metrics)["top1"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())


@pytest.mark.parametrize(("count", "classes"), [(300, 12), (15, 30)])  # of 30 classes some never occur
@pytest.mark.parametrize("how", ["weighted", "macro"])
def test_equals_scikit_learn(count: int, classes: int, how: str) -> None:
    logits, labels = many(count, classes)
    metrics = ClassificationMetrics(classes)
    for one, other in zip(torch.split(logits, 7), torch.split(labels, 7), strict=True):
        metrics.update(one, other)
    wanted = precision_recall_fscore_support(labels, logits.argmax(1), average=how, zero_division=0)[:3]
    ours = figures(metrics)
    np.testing.assert_allclose([ours[f"{name}_{how}"] for name in ("precision", "recall", "f1")], wanted, atol=1e-6)
    assert ours["recall_weighted"] == pytest.approx(ours["top1"])


def test_no_counts_in_the_checkpoint() -> None:
    metrics = ClassificationMetrics(4, ATTRIBUTES)
    metrics.update(LOGITS, LABELS)
    assert metrics.state_dict() == {}
    assert metrics.group_of_class["make"].tolist() == [0, 0, 1, 1]


def test_an_average_of_the_weights_leaves_the_metrics_alone() -> None:
    """Of the module, buffers included, as Lightning's `EMAWeightAveraging` makes it."""
    own = [str(number) for number in range(40)]
    metrics = ClassificationMetrics(40, {"make": own, "body": ["Coupe", "SUV"] * 20, "year": own})
    average = AveragedModel(metrics, avg_fn=lambda old, new, _: 0.9 * old + (1 - 0.9) * new, use_buffers=True)
    for _ in range(3):
        average.update_parameters(metrics)
    averaged = average.module
    assert isinstance(averaged, ClassificationMetrics)
    labels = torch.arange(40)
    averaged.update(torch.nn.functional.one_hot(labels.roll(1), 40).float(), labels)
    assert {figures(averaged)[level] for level in ("make", "body", "year")} == {0}
    assert list(metrics.buffers()) == []
    assert all(torch.equal(averaged.group_of_class[level], groups) for level, groups in metrics.group_of_class.items())


def test_an_attribute_with_the_name_of_a_metric_is_left_out() -> None:
    assert set(ClassificationMetrics(2, {"loss": ["a", "b"], "top1": ["a", "b"], "colour": ["a", "a"]}).groups) == {
        "colour"
    }


def test_one_nan_makes_the_loss_nan() -> None:
    metrics = ClassificationMetrics(4, ATTRIBUTES)
    metrics.update(LOGITS, LABELS)
    metrics.update(torch.tensor([[float("nan"), 0, 0, 0]]), torch.tensor([0]))
    metrics.update(LOGITS, LABELS)
    assert math.isnan(figures(metrics)["loss"])
    metrics.reset()
    metrics.update(LOGITS, LABELS)
    assert figures(metrics)["loss"] == pytest.approx(RIGHT["loss"])


def test_the_weighted_mean_is_that_of_torchmetrics() -> None:
    """To the last bit, for finite values."""
    draw = torch.Generator().manual_seed(0)
    ours, theirs = WeightedMean(), MeanMetric()
    for weight in (64, 64, 17):
        value = torch.rand((), generator=draw)
        ours.update(value, weight)
        theirs.update(value, weight=weight)
    assert torch.equal(ours.compute(), theirs.compute())

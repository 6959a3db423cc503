"""Classification metrics of one pass over a split, and the accuracy of attributes such as the make."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall


class WeightedMean(Metric):
    """Mean of values weighted by numbers of images, over all processes: sum of value x weight / sum of weights.

    One NaN makes the mean NaN. torchmetrics' `MeanMetric` leaves NaN values out, and ignores weights if told not to.
    """

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: int) -> None:
        """Add a value.

        Args:
            value: float scalar.
            weight: number of images that the value is the mean of.
        """
        self.total += value * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """Return the mean, a scalar; NaN before the first value."""
        return self.total / self.weight


class ClassificationMetrics(nn.Module):
    """Metrics of a whole split, from batches of logits and labels, over all processes.

    With TP, FP and FN counted per class c:
    `loss` = mean cross-entropy; `top1`, `top5` = share of images whose label is among the 1 or 5 largest logits;
    precision_c = TP / (TP + FP), recall_c = TP / (TP + FN), f1_c = 2 TP / (2 TP + FP + FN), 0 where the denominator is;
    `*_weighted` = mean over classes weighted by their number of images (so recall_weighted equals top1);
    `*_macro` = plain mean over the classes that occur as a label or a prediction;
    an attribute such as `make` = share of images whose predicted class has the label's make.

    Args:
        count: number of classes C.
        attributes: see `use_attributes`.
    """

    def __init__(self, count: int, attributes: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self.loss = WeightedMean()
        averages = {
            **{f"precision_{how}": MulticlassPrecision(count, average=how) for how in ("weighted", "macro")},
            **{f"recall_{how}": MulticlassRecall(count, average=how) for how in ("weighted", "macro")},
            **{f"f1_{how}": MulticlassF1Score(count, average=how) for how in ("weighted", "macro")},
        }
        self.scores = MetricCollection(
            {
                "top1": MulticlassAccuracy(count, average="micro"),
                "top5": MulticlassAccuracy(count, average="micro", top_k=min(5, count)),
                **averages,
            },
            # given explicitly: torchmetrics would merge top5 with the averages for good if both have the same counts
            # after the first batch, as they have if no label is among the 5 largest logits
            compute_groups=[["top1"], ["top5"], list(averages)],
        )
        self.use_attributes(attributes or {})

    def use_attributes(self, attributes: Mapping[str, Sequence[str]]) -> None:
        """Score attributes of the classes.

        Args:
            attributes: by name, the value of each of the C classes; one with the name of another metric is left out.
        """
        free = {name: values for name, values in attributes.items() if name not in ("loss", *self.scores)}
        # plain tensors: an average of the weights includes all buffers, and would change integers
        self.group_of_class = {name: _numbers(values) for name, values in free.items()}
        self.groups = nn.ModuleDict({name: MeanMetric() for name in free})

    @property
    def names(self) -> list[str]:
        """Names of the metrics, as `compute` returns them."""
        return ["loss", *self.scores, *self.groups]

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            logits: float (B, C).
            labels: int64 (B,).
        """
        self.loss.update(functional.cross_entropy(logits, labels), weight=len(labels))
        self.scores.update(logits, labels)
        predicted = logits.argmax(1)
        for level, metric in self.groups.items():
            group_of_class = self.group_of_class[level] = self.group_of_class[level].to(labels.device)
            metric.update((group_of_class[predicted] == group_of_class[labels]).float())  # type: ignore[operator]

    def compute(self) -> dict[str, Tensor]:
        """Return each metric by its name, as a scalar: the loss in nats, all others in 0..1."""
        groups = {level: metric.compute() for level, metric in self.groups.items()}  # type: ignore[operator]
        return {"loss": self.loss.compute(), **self.scores.compute(), **groups}

    def reset(self) -> None:
        """Forget all batches."""
        self.loss.reset()
        self.scores.reset()
        for metric in self.groups.values():
            metric.reset()  # type: ignore[operator]


def _numbers(values: Sequence[str]) -> Tensor:
    """Number equal values equally, int64 (C,)."""
    number = {value: position for position, value in enumerate(sorted(set(values)))}
    return torch.tensor([number[value] for value in values], dtype=torch.int64)


def averaged_scores(predicted: Tensor, labels: Tensor) -> dict[str, float]:
    """Return `top1`, and precision, recall and F1 as `precision_weighted`, `precision_macro` etc.

    They are defined as in `ClassificationMetrics`.

    Args:
        predicted: predicted labels, int64 (N,).
        labels: true labels, int64 (N,).
    """
    count = max(2, int(torch.cat([predicted, labels]).max()) + 1)  # torchmetrics needs at least 2 classes
    kinds = {"precision": multiclass_precision, "recall": multiclass_recall, "f1": multiclass_f1_score}
    scores = {
        f"{name}_{how}": one(predicted, labels, count, average=how)
        for name, one in kinds.items()
        for how in ("weighted", "macro")
    }
    top1 = (predicted == labels).float().mean()
    return {"top1": float(top1), **{name: float(value) for name, value in scores.items()}}

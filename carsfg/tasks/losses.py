"""Cross-entropy with weights of the classes, and losses of pytorch-metric-learning by name."""

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from carsfg.errors import InputError

MAX_CLASS_WEIGHT = 10.0  # before normalisation: rarer classes would make single images decide a step
ClassWeights = Literal["none", "auto"] | list[float]


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of a batch, (1/B) sum_i sum_c w_c t_ic (-log p_ic), a scalar in nats.

    t are the labels as shares of the classes, smoothed: (1 - s) t + s / C. The sum is divided by the number of images B
    and not by the sum of their weights, so that an image counts the same in every batch, mixed or not.

    Args:
        logits: float (B, C).
        labels: int64 (B,), or shares of the classes (B, C).
        smoothing: share s of the target that is spread over all classes, 0..1.
        weights: w, float32 (C,); None: all 1.
    """
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    total = functional.cross_entropy(logits.float(), labels, weights, label_smoothing=smoothing, reduction="sum")
    return total / len(labels)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Return weights by which all classes count about the same, float32 (C,).

    w_c = min(N / (C n_c), 10) / m, with n_c images of class c, N of all C classes, and m the mean of the numerator over
    the N images: the mean weight of an image is 1, so that the learning rate keeps its meaning. A class without images
    has weight 0: it is never a label, and label smoothing would otherwise push every image towards it.

    Args:
        counts: images per class, int64 (C,).
    """
    total, images = counts.sum(), counts.double()
    weights = (total / (len(counts) * images)).clamp(max=MAX_CLASS_WEIGHT).where(counts > 0, 0.0)
    return (weights * total / (weights * images).sum()).float()


def starting_weights(asked: ClassWeights, classes: int) -> Tensor | None:
    """Return the weights of the classes, float32 (C,): for `auto` 1 until `training_counts` are known, None for `none`.

    Args:
        asked: `none`, `auto`, or the weights.
        classes: number of classes C.

    Raises:
        InputError: it is another word, or a list that is not of C numbers of 0 or more, one of them above 0.
    """
    if isinstance(asked, str):
        if asked not in ("none", "auto"):
            raise InputError(f"unknown model.class_weights {asked!r}: use none, auto, or a list of numbers")
        return None if asked == "none" else torch.ones(classes)
    if len(asked) != classes:
        raise InputError(f"model.class_weights has {len(asked)} numbers, there are {classes} classes: one each")
    weights = torch.tensor(asked, dtype=torch.float32)
    if not weights.isfinite().all() or weights.min() < 0 or not weights.any():
        raise InputError(f"model.class_weights {list(asked)} must be finite numbers of 0 or more, one of them above 0")
    return weights


def training_counts(data: Any, classes: int) -> Tensor:
    """Return the training images per class, int64 (C,), that a DataModule tells by `train_class_counts`.

    Args:
        data: DataModule after `setup`; None if the loaders were given without one.
        classes: number of classes C.

    Raises:
        InputError: the DataModule does not tell them, or not one per class.
    """
    counts = getattr(data, "train_class_counts", None)
    if counts is None:
        lacking = "loaders without a DataModule have" if data is None else f"{type(data).__name__} has"
        raise InputError(
            f"model.class_weights 'auto' needs the training images per class, but {lacking} no train_class_counts: add "
            "it (int64, one per class), or give the weights as a list"
        )
    counts = torch.as_tensor(counts)
    if counts.shape != (classes,):
        raise InputError(
            f"train_class_counts of {type(data).__name__} has shape {tuple(counts.shape)}, there are {classes} "
            "classes: give one number per class"
        )
    return counts


def make_loss(name: str, classes: int, width: int, arguments: dict[str, Any] | None = None) -> nn.Module:
    """Build a loss: a module that maps embeddings (B, width) and labels (B,) to a scalar.

    Args:
        name: a class in `pytorch_metric_learning.losses`.
        classes: number of classes; used by losses with a proxy or a centre per class.
        width: of the embeddings; used by the same losses.
        arguments: further arguments of the loss.

    Raises:
        InputError: pytorch-metric-learning is not installed, has no such loss, or the loss does not take the arguments.
    """
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        raise InputError(
            f"loss {name!r} comes from pytorch-metric-learning: python -m pip install -e '.[metric]'"
        ) from None
    found = getattr(losses, name, None)
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise InputError(f"unknown loss {name!r}: pytorch_metric_learning.losses has no such class")
    sizes = {"num_classes": classes, "embedding_size": width}
    taken = {name for cls in found.__mro__ for name in inspect.signature(cls.__init__).parameters}  # type: ignore[misc]
    try:
        loss = found(**{key: value for key, value in sizes.items() if key in taken}, **(arguments or {}))
        _try(loss, classes, width)
    except Exception as error:  # the losses raise any type
        raise InputError(f"loss {name} with {arguments or {}}: {type(error).__name__}: {error}") from error
    return loss


def _try(loss: nn.Module, classes: int, width: int) -> None:
    """Compute a loss once: some losses check their arguments only then."""
    labels = torch.arange(8) % min(4, classes)
    with torch.random.fork_rng(devices=[]):
        loss(torch.randn(8, width), labels)

"""The checkpoint of a linear probe: the network that was probed, with the probe as its head."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from carsfg.errors import InputError
from carsfg.evaluation.checkpoint_data import Subject
from carsfg.evaluation.linear_probe import LinearProbe
from carsfg.files import replacing, write_error
from carsfg.models.backbones import skip_weights
from carsfg.models.image_input import INPUT_ARGUMENTS
from carsfg.run_record import RunRecord
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.classifier import CarClassifier

EXPERIMENT = "linear_probe"  # of the record of such a checkpoint


def check_probe(task: CarsTask, protocol: str) -> None:
    """Check, before minutes of work, that a probe can be fitted and can be the head of a network.

    Args:
        task: network that is probed.
        protocol: of the data, such as `official`; `zero_shot` has no training images to fit to.

    Raises:
        InputError: the classes of the test images have no training images, or the head is not a linear layer.
    """
    if protocol == "zero_shot":
        raise InputError("--save_probe: under zero_shot there are no training images of the tested classes")
    if task.has_head and not isinstance(getattr(task, "head", None), nn.Linear):
        raise InputError(f"--save_probe: the head of {type(task).__name__} is not a linear layer, which the probe is")


def save_probe(
    path: str | Path, probe: LinearProbe, strength: float, images: int, subject: Subject, record: RunRecord
) -> None:
    """Write a network with a linear probe as its head.

    A network without a head becomes a `CarClassifier` with a frozen backbone; any other stays what it is. The head
    gives the logits of the probe, whose standardisation is part of it.

    Args:
        path: file to write.
        probe: fitted to all training images.
        strength: of the probe's L2 penalty.
        images: number of training images, the hold-out included.
        subject: the network, and the data that the probe was fitted to.
        record: of the evaluation: network, weights, data, precision and metric.

    Raises:
        InputError: the images have more classes than the data names, or the file cannot be written.
    """
    names = subject.class_names
    if len(probe.bias) != len(names):
        raise InputError(f"--save_probe: the labels are of {len(probe.bias)} classes, the data names {len(names)}")
    task = deepcopy(subject.task) if subject.task.has_head else _classifier(subject.task, names)
    weight, bias = probe.as_layer()
    with torch.no_grad():
        task.head.weight.copy_(weight)
        task.head.bias.copy_(bias)
    probed = {"linear_probe_of": record.network, "l2": strength, "precision": record.precision}
    chosen = f"holdout: L2 {strength:g} of a linear probe"
    data = record.data | {"train_images": images}  # a DataModule counts them without its hold-out
    made = replace(
        record,
        data=data,
        experiment=EXPERIMENT,
        task=task.describe(),
        trainer=probed,
        chosen_on=chosen,
        scored_images=0,
    )
    try:
        with replacing(path) as beside:
            save_network(task, beside, made)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot write {path}: {write_error(error)}") from error


def _classifier(network: CarsTask, class_names: list[str]) -> CarClassifier:
    """Return a classifier with the backbone of a network without a head, and a random head."""
    kept = {name: network.hparams[name] for name in ("backbone", "weights", *INPUT_ARGUMENTS)}
    with skip_weights():
        task = CarClassifier(class_names=class_names, freeze="backbone", **kept)
    task.backbone.load_state_dict(network.backbone.state_dict())
    return task

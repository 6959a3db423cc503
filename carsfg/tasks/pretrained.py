"""Pretrained networks as they were published: they embed images without any training."""

from dataclasses import replace
from typing import Any

import torchvision

from carsfg.errors import InputError, UnreachableWeightsError, suggestion
from carsfg.models.image_input import DEFAULT, INPUT_ARGUMENTS, weights_name
from carsfg.models.timm_backbones import PREFIX
from carsfg.run_record import NOT_TRAINED, RunRecord
from carsfg.tasks.architectures import HeadlessNetwork
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import backbone_name
from carsfg.tasks.weights_source import library_versions, weights_of


class PretrainedNetwork(HeadlessNetwork, CarsTask):
    """Embed images with a pretrained network, without a head and without training.

    The embedding is that of a `CarClassifier` with the same backbone and weights, so that both have one fingerprint.

    Args:
        backbone: a torchvision classification network, such as `resnet50`, or `timm:NAME`.
        weights: `DEFAULT` or another name of torchvision's weights, or the path of a state_dict.
        **kwargs: arguments of `CarsTask`; there must be no class names.

    Raises:
        InputError: the backbone is unknown, weights cannot be read or do not fit, or there are classes to learn.
    """

    needs_classes = False

    def __init__(self, backbone: str = "resnet50", weights: str | None = DEFAULT, **kwargs: Any) -> None:
        if kwargs.pop("class_names", None):
            raise InputError("a PretrainedNetwork learns no classes: train a carsfg.CarClassifier with this backbone")
        super().__init__(class_names=[], **kwargs)
        self.build_network(backbone, weights)

    def describe(self) -> dict[str, Any]:
        """Return what the run record says of the network: no arguments of a training."""
        described = super().describe()
        return {name: described[name] for name in ("class_path", "backbone", *INPUT_ARGUMENTS)}

    def setup(self, stage: str) -> None:
        """Refuse a training.

        Raises:
            InputError: the network is to be trained.
        """
        if stage == "fit":
            raise InputError("a PretrainedNetwork is not trained: train a carsfg.CarClassifier with this backbone")
        super().setup(stage)


def load_pretrained(name: str, weights: str | None = None) -> tuple[PretrainedNetwork, RunRecord]:
    """Build a pretrained network, and a record that says which weights it has.

    Args:
        name: `timm:NAME` or `torchvision:NAME`.
        weights: the path of a state_dict, or a name of torchvision's weights; None downloads the network's
            default weights, once.

    Raises:
        InputError: the network is unknown, or the weights cannot be read or fetched, or do not fit.
    """
    backbone, known = backbone_name(name), torchvision.models.list_models(module=torchvision.models)
    if not name.startswith(PREFIX) and backbone not in known:
        raise InputError(
            f"torchvision has no classification network {backbone!r}{suggestion(backbone, known)}; "
            "torchvision.models.list_models() says which it has"
        )
    try:
        task = PretrainedNetwork(backbone=backbone, weights=DEFAULT if weights is None else weights)
    except UnreachableWeightsError as error:
        raise InputError(f"{error.reason}; give --weights the path of a state_dict of {backbone}") from error
    source, digest = weights_of(task.hparams)
    made = RunRecord(task=task.describe(), weights=source, weights_sha256=digest, chosen_on=NOT_TRAINED)
    return task, replace(made, weights=weights_name(backbone, source), versions=library_versions())

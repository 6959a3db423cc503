"""The images that pretrained weights expect, as timm and torchvision describe them: size, resizing, normalisation."""

from collections.abc import Collection, Mapping
from typing import Any, get_args

import torchvision

from carsfg.errors import InputError
from carsfg.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, Interpolation
from carsfg.models.timm_backbones import PREFIX, describe_timm, timm_weights_name

INPUT_ARGUMENTS = ("image_size", "interpolation", "mean", "std")  # of a task
# of weights without a description: random ones, and those of a custom CNN
IMAGENET_INPUT: Mapping[str, Any] = {
    "image_size": 224,
    "interpolation": "bilinear",
    "mean": [*IMAGENET_MEAN],
    "std": [*IMAGENET_STD],
}
DEFAULT = "DEFAULT"  # name of a network's newest weights


def describe_input(backbone: object, weights: object, needed: Collection[str] = INPUT_ARGUMENTS) -> dict[str, Any]:
    """Return what weights expect of images, by the names of the arguments of a task.

    A file of weights has no description: that of the network's `DEFAULT` weights stands for it. Random weights and
    networks without a description have that of `IMAGENET_INPUT`.

    Args:
        backbone: name of a network, as `build_backbone` takes it; anything else has no description.
        weights: name or file of its weights; None for random ones.
        needed: arguments whose values carsfg must be able to use; the values of others may be any.

    Returns:
        `image_size` in pixels, `interpolation`, and `mean` and `std` of RGB in 0..1, as plain values.

    Raises:
        InputError: a needed value is one that `carsfg.models.preprocess.Preprocess` does not have, or timm is missing.
    """
    if not isinstance(backbone, str) or weights is None:
        return dict(IMAGENET_INPUT)
    if backbone.startswith(PREFIX):
        found = describe_timm(backbone.removeprefix(PREFIX))
    else:
        found = _describe_torchvision(backbone, str(weights))
    if found is None:
        return dict(IMAGENET_INPUT)
    height, width = found["size"]
    if "image_size" in needed and height != width:
        raise InputError(
            f"{backbone} was trained on images of {height} x {width} pixels, and carsfg makes squares: set "
            "model.image_size, or choose another network"
        )
    if "interpolation" in needed and found["interpolation"] not in get_args(Interpolation):
        raise InputError(
            f"{backbone} was trained on images resized by {found['interpolation']!r}, which carsfg does not have: set "
            "model.interpolation to bicubic or bilinear, or choose another network"
        )
    return {name: found.get(name, height) for name in INPUT_ARGUMENTS}


def weights_name(backbone: str, weights: str) -> str:
    """Return the name of weights, that behind `DEFAULT` where it is known, such as `IMAGENET1K_V2`.

    Args:
        backbone: name of a network of torchvision, or `timm:NAME`.
        weights: name or file of its weights.
    """
    if weights != DEFAULT:
        return weights
    if backbone.startswith(PREFIX):
        return timm_weights_name(backbone.removeprefix(PREFIX))
    entry = _torchvision_weights(backbone, weights)
    return weights if entry is None else str(entry.name)


def _torchvision_weights(name: str, weights: str) -> Any:
    """Return the entry of some weights of a torchvision network, `DEFAULT` for those of a file; None if unknown."""
    if name not in torchvision.models.list_models(module=torchvision.models):
        return None
    known = torchvision.models.get_model_weights(name).__members__
    return known.get(weights) or known.get(DEFAULT)


def _describe_torchvision(name: str, weights: str) -> dict[str, Any] | None:
    entry = _torchvision_weights(name, weights)
    if entry is None:
        return None
    preset = entry.transforms()
    (side,) = preset.crop_size
    return {
        "size": (side, side),
        "interpolation": preset.interpolation.value,
        "mean": [*preset.mean],
        "std": [*preset.std],
    }

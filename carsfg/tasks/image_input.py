"""Image size, interpolation and normalisation of a task where the user sets none: those of its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carsfg.models.backbones import weights_are_skipped
from carsfg.models.image_input import IMAGENET_INPUT, INPUT_ARGUMENTS, describe_input
from carsfg.tasks.checkpoints import read_checkpoint

NORMALISATION = ("mean", "std")


def unset_input(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of those `INPUT_ARGUMENTS` that are None.

    They come from the checkpoint of `init_from`, or else from the description of `weights`, see
    `carsfg.models.image_input.describe_input`.

    Args:
        arguments: of a task, by name; `backbone`, `weights` and `init_from` may be missing.

    Raises:
        InputError: the checkpoint cannot be read, or carsfg has no such interpolation or image size.
    """
    unset = [name for name in INPUT_ARGUMENTS if arguments.get(name) is None]
    if not unset:
        return {}
    start = arguments.get("init_from")
    if start and not weights_are_skipped():
        known = read_checkpoint(start)["hyper_parameters"]
        found = {**IMAGENET_INPUT, **{name: known[name] for name in INPUT_ARGUMENTS if known.get(name) is not None}}
    else:
        found = describe_input(arguments.get("backbone"), arguments.get("weights"), unset)
    return {name: found[name] for name in unset}


def input_lines(arguments: Mapping[str, Any], taken: Mapping[str, Any]) -> list[str]:
    """Return lines about values that are not ImageNet's, and about a normalisation that is not that of the weights.

    Args:
        arguments: of a task, complete.
        taken: those of them that `unset_input` gave.
    """
    lines, start = [], arguments.get("init_from")
    unusual = [f"model.{name} {value!r}" for name, value in taken.items() if value != IMAGENET_INPUT[name]]
    if unusual:
        source = Path(str(start)).name if start else f"the description of {arguments.get('backbone')}'s weights"
        lines.append(f"taken from {source}: {'; '.join(unusual)}")
    given = {name: [*arguments[name]] for name in NORMALISATION if name in arguments and name not in taken}
    if start or not given:
        return lines
    known = describe_input(arguments.get("backbone"), arguments.get("weights"), ())
    for name, value in given.items():
        if arguments.get("weights") and any(
            abs(own - one) > 1e-4 for own, one in zip(value, known[name], strict=False)
        ):
            lines.append(f"model.{name} {value} is used as given; the weights were trained with {known[name]}")
    return lines

"""Options for boxes of cars, shared by the verbs that read photos, and what they make of them."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carsfg.commands.options import option
from carsfg.errors import InputError

if TYPE_CHECKING:
    import torch

    from carsfg.search.box_choice import BoxSource
    from carsfg.tasks.base import CarsTask


@dataclass(frozen=True, kw_only=True)
class Boxing:
    """Options that say where the car is.

    Attributes:
        box: how photos without a known box are cut, see `carsfg.search.box_choice`.
        boxes: table of boxes.
        detector_weights: state_dict of the detection network.
    """

    box: str | None = option(
        "auto: the network finds the car in each photo; detector: torchvision's detection network does; none: whole "
        "photos; by default auto if the network learned from box crops",
        None,
    )
    boxes: str | None = option(
        "CSV table of boxes in pixels, with the columns path and x0,y0,x1,y1, or path and x,y,width,height", None
    )
    detector_weights: str | None = option(
        "weights of torchvision's fasterrcnn_mobilenet_v3_large_320_fpn for --box detector; by default downloaded", None
    )


def make_finder(
    mode: str,
    task: "CarsTask",
    bfloat16: bool,
    weights: str | None = None,
    device: "torch.device | str" = "cpu",
    asked: bool = True,
) -> "BoxSource | None":
    """Return what finds the car in photos; None takes them whole.

    Args:
        mode: `auto`, `none` or `detector`.
        task: network that embeds the photos.
        bfloat16: use bfloat16 autocast.
        weights: file of the detector's weights; None downloads them.
        device: where the detector computes.
        asked: whether the user named the mode: then it must work.

    Raises:
        InputError: the detector's weights cannot be used, or the network has no feature map and `asked` is true.
    """
    if mode == "none":
        return None
    if mode == "detector":
        from carsfg.search.detector import Detector

        return Detector.open(weights, device)
    from carsfg.search.car_box import BoxFinder

    finder = BoxFinder(task, bfloat16)
    if not finder and asked:
        raise InputError(
            "--box auto: this network has no feature map to find the car by; use --box none or detector, or --boxes"
        )
    return finder if finder else None


def say_box(mode: str, reason: str, finder: "BoxSource | None") -> None:
    """Print in one line how photos are cut, on stderr; nothing where nothing was decided.

    Args:
        mode: `auto`, `none` or `detector`.
        reason: why, in words; empty if nothing is known of the network's images.
        finder: as `make_finder` returned it.
    """
    if mode != "none" and finder is None:
        print("box: none (this network has no feature map to find the car by)", file=sys.stderr)  # noqa: T201
    elif reason:
        print(f"box: {mode} ({reason})", file=sys.stderr)  # noqa: T201

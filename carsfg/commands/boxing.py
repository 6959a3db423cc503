"""Options for boxes of cars, shared by the verbs that read photos."""

from dataclasses import dataclass

from carsfg.commands.options import option


@dataclass(frozen=True, kw_only=True)
class Boxing:
    """Options that say where the car is.

    Attributes:
        box: how photos without a known box are cut, see `carsfg.search.box_choice`.
        boxes: CSV file with a box per photo.
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

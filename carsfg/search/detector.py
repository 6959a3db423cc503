"""The car in a whole photo by torchvision's detection network, trained on COCO."""

from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from carsfg.data.cropped_images import to_tensor
from carsfg.data.image_io import Box
from carsfg.errors import InputError
from carsfg.models.backbones import read_state_dict

NETWORK = "fasterrcnn_mobilenet_v3_large_320_fpn"
CAR_LABELS = (3, 6, 8)  # car, bus and truck in COCO's numbering
MIN_SCORE = 0.5


class Detector:
    """Find the largest confident car, bus or truck in photos.

    Args:
        network: torchvision detection network: takes a list of images, float (3, H, W) in 0..1, and returns a dict of
            `boxes` (n, 4), `labels` (n,) and `scores` (n,) per image.
        device: where it computes.
    """

    def __init__(self, network: nn.Module, device: str | torch.device = "cpu") -> None:
        self.network, self.device = network.to(device).eval(), device

    @classmethod
    def open(cls, weights: str | Path | None = None, device: str | torch.device = "cpu") -> "Detector":
        """Build the network with torchvision's weights, which are downloaded once, or with those of a file.

        Args:
            weights: path of a state_dict; None downloads.
            device: where it computes.

        Raises:
            InputError: the weights cannot be downloaded, read, or do not fit.
        """
        from torchvision.models import detection

        network = detection.__dict__[NETWORK](weights=None, weights_backbone=None)
        state = _download() if weights is None else read_state_dict(Path(weights))
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise InputError(f"detector weights '{weights}' are not those of torchvision's {NETWORK}") from None
        return cls(network, device)

    @torch.no_grad()
    def find(self, photos: Sequence[Image.Image], batch_size: int = 32) -> list[Box | None]:
        """Return the box of the largest vehicle in each photo, in pixels, half-open; None where none is found.

        Args:
            photos: upright RGB images of any size.
            batch_size: photos per forward pass.
        """
        boxes: list[Box | None] = []
        for start in range(0, len(photos), batch_size):
            some = photos[start : start + batch_size]
            found = self.network([to_tensor(photo).to(self.device).float() / 255 for photo in some])
            boxes += [_largest(one, photo.size) for one, photo in zip(found, some, strict=True)]
        return boxes


def _download() -> dict[str, Any]:
    from torchvision.models import get_model_weights

    entry = get_model_weights(NETWORK).DEFAULT
    try:
        return dict(entry.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except (OSError, HTTPException, RuntimeError, EOFError) as error:
        raise InputError(
            f"cannot fetch the detector's weights from {entry.url} ({error}); give --detector_weights the path of that "
            "file, or use --box auto"
        ) from error


def _largest(found: dict[str, torch.Tensor], size: tuple[int, int]) -> Box | None:
    """Return the largest box of a vehicle, clipped to the photo and at least one pixel wide and high."""
    is_car = torch.isin(found["labels"].cpu(), torch.tensor(CAR_LABELS)) & (found["scores"].cpu() >= MIN_SCORE)
    boxes = found["boxes"].cpu()[is_car]
    if not len(boxes):
        return None
    x0, y0, x1, y1 = boxes[int((boxes[:, 2:] - boxes[:, :2]).prod(1).argmax())].round().int().tolist()
    left, top = min(max(x0, 0), size[0] - 1), min(max(y0, 0), size[1] - 1)
    return left, top, max(min(x1, size[0]), left + 1), max(min(y1, size[1]), top + 1)

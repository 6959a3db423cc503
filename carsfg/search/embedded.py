"""Embedded images of a folder, in parts that are joined at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carsfg.data.image_io import Box


@dataclass
class EmbeddedPhotos:
    """Embeddings and small pictures of a folder's images.

    Attributes:
        embeddings: float32 (M, D), of the M images that could be decoded; float32 (0,) for none.
        places: of those images in the folder.
        jpegs: small pictures of those images.
        complaints: messages about the images that could not be used.
        boxes: of those images, `x0, y0, x1, y1` in pixels of the file, half-open, from a table or from a finder; None
            for images that were taken as they are.
    """

    embeddings: Tensor
    places: list[int] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)

    @property
    def boxed(self) -> int:
        """Number of images that were cut to a box from a table or from a finder."""
        return sum(box is not None for box in self.boxes)

    @classmethod
    def join(cls, parts: "Sequence[EmbeddedPhotos]") -> "EmbeddedPhotos":
        """Join parts in their order.

        Args:
            parts: of one folder; parts without images bring their complaints.
        """
        found = [part.embeddings for part in parts if len(part.places)]
        result = cls(torch.cat(found) if found else torch.empty(0))
        for part in parts:
            result.places += part.places
            result.jpegs += part.jpegs
            result.complaints += part.complaints
            result.boxes += part.boxes
        return result

"""ImageSource: the description of a data set that every source gives, whatever its format on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class ImageSource:
    """N images and what is known about them. Every column has one value per image, in the order of `paths`.

    Attributes:
        paths: the N image files.
        labels: int64 (N,), 0-based places in `class_names`.
        class_names: names of the C classes, in label order.
        boxes: int64 (N, 4), `x0, y0, x1, y1` in pixels of the upright image, 0-based and half-open; None: no boxes.
        groups: name of the physical object on each image; images of one group stay in one split. None: no groups.
        split: split that each image was assigned to by the source, such as `train`; None: no given split.
        attributes: further columns by name, such as `make`.
    """

    paths: list[Path]
    labels: Tensor
    class_names: list[str]
    boxes: Tensor | None = None
    groups: Sequence[str] | None = None
    split: Sequence[str] | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

"""ImageSource: the description of a data set that every source gives, whatever its format on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Part = Literal["train", "val", "test"]
NO_BOX = (-1, -1, -1, -1)


@dataclass(frozen=True)
class ImageSource:
    """N images and what is known about them. Every column has one value per image, in the order of `paths`.

    Attributes:
        folder: folder that the names of the images are relative to.
        paths: the N image files; one file may occur several times, with different boxes.
        labels: int64 (N,), 0-based places in `class_names`.
        class_names: names of the C classes, in label order.
        boxes: int64 (N, 4), `x0, y0, x1, y1` in pixels of the upright image, 0-based and half-open, `NO_BOX` for a
            whole image; None: no boxes.
        groups: name of the physical object on each image, `""` for none; images of one group stay in one split.
            None: no groups.
        parts: `train`, `val` or `test` for each image, as the source assigns it; None: no given split.
        attributes: further columns by name, such as `make`.
        left_out: one line that lists what was not taken from the folder; empty if nothing was.
    """

    folder: Path
    paths: list[Path]
    labels: Tensor
    class_names: list[str]
    boxes: Tensor | None = None
    groups: Sequence[str] | None = None
    parts: Sequence[Part] | None = None
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return an image's path below the folder, or its whole path if it lies elsewhere.

        Args:
            index: place in `paths`.
        """
        path = self.paths[index]
        return (path.relative_to(self.folder) if path.is_relative_to(self.folder) else path).as_posix()

    def take(self, rows: npt.NDArray[np.int64]) -> "ImageSource":
        """Return the source of some of the images, with all class names.

        Args:
            rows: int64 (M,), places in `paths`.
        """
        places = rows.tolist()
        return replace(
            self,
            paths=[self.paths[row] for row in places],
            labels=self.labels[torch.from_numpy(rows)],
            boxes=None if self.boxes is None else self.boxes[torch.from_numpy(rows)],
            groups=None if self.groups is None else [self.groups[row] for row in places],
            parts=None if self.parts is None else [self.parts[row] for row in places],
            attributes={name: [values[row] for row in places] for name, values in self.attributes.items()},
        )

    def relabelled(self, new: npt.NDArray[np.int64], class_names: list[str]) -> "ImageSource":
        """Return the source with other labels.

        Args:
            new: int64 (C,), the new label of each class.
            class_names: names of the classes, in the new label order.
        """
        return replace(self, labels=torch.from_numpy(new)[self.labels], class_names=class_names)

    def with_class_names(self, class_names: list[str]) -> "ImageSource":
        """Return the source with its classes in another order.

        Args:
            class_names: names of the same classes, as `same_classes` compares them, in the new label order.
        """
        place = {class_key(name): label for label, name in enumerate(class_names)}
        new = np.array([place.get(class_key(name), -1) for name in self.class_names], np.int64)
        return self.relabelled(new, class_names)


def boxes_or_none(boxes: Tensor | None) -> Tensor | None:
    """Return boxes int64 (N, 4), or None if all of them are `NO_BOX`.

    Args:
        boxes: of images, as in `ImageSource`.
    """
    return None if boxes is None or bool((boxes == torch.tensor(NO_BOX)).all()) else boxes


def same_classes(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two lists name the same classes, in any order; `/` equals `-`, since no folder's name has a `/`.

    Args:
        names: one list, without repetitions.
        others: names to compare with, without repetitions.
    """
    return len(names) == len(others) and set(map(class_key, names)) == set(map(class_key, others))


def class_key(name: str) -> str:
    """Return a class name as it is compared: with `-` in place of `/`, which no folder's name has.

    Args:
        name: class name of any source.
    """
    return name.replace("/", "-")


def pool(sources: Sequence[ImageSource]) -> ImageSource:
    """Join sources of the same classes and columns, one after the other.

    Args:
        sources: one or more, with equal class names.
    """
    first, *others = sources
    if not others:
        return first

    def joined(name: str) -> list[Any] | None:
        columns = [getattr(one, name) for one in sources]
        return None if columns[0] is None else [value for column in columns for value in column]

    boxes = [one.boxes for one in sources if one.boxes is not None]
    return replace(
        first,
        paths=[path for one in sources for path in one.paths],
        labels=torch.cat([one.labels for one in sources]),
        boxes=torch.cat(boxes) if boxes else None,
        groups=joined("groups"),
        parts=joined("parts"),
        attributes={name: [value for one in sources for value in one.attributes[name]] for name in first.attributes},
    )

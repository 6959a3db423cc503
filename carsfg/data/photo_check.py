"""The check of photos of one's own: counts, sizes, unreadable files, duplicates, and images in two splits."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from carsfg.data.cropped_images import CroppedImages
from carsfg.data.integrity import identical_pairs
from carsfg.data.near_duplicates import CELLS_SIDE, grey_cells, near_duplicates
from carsfg.data.sources.source import ImageSource
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.files import digest


@dataclass(frozen=True)
class PhotoCheck:
    """Result for a folder or table.

    Attributes:
        source: files, classes and boxes that were checked.
        class_sizes: number of images by class name, in label order.
        parts: number of images by given split; empty without given splits.
        unreadable: one message for each image that cannot be used, with the name of its file.
        sizes: smallest and largest width and height in pixels, after the box crop.
        identical: pairs of positions of byte-identical files.
        near: pairs of positions of near duplicates whose files differ.
        conflicting: number of those pairs, of both kinds, with two different classes.
        across: number of pairs of byte-identical files in two given splits.
    """

    source: ImageSource
    class_sizes: dict[str, int]
    parts: dict[str, int]
    unreadable: list[str]
    sizes: tuple[int, int, int, int]
    identical: list[tuple[int, int]]
    near: list[tuple[int, int]]
    conflicting: int
    across: int


def check_photos(source: ImageSource, crop: bool = True, progress: bool = True) -> PhotoCheck:
    """Read and decode every image.

    Args:
        source: the images, with their classes and boxes.
        crop: images are cut to their boxes, so each box must lie within its image.
        progress: show a progress bar.

    Raises:
        InputError: the boxes that reach furthest leave their images: they are crops already.
    """
    dataset = CroppedImages(source, "photos", crop)

    def inspect(index: int) -> tuple[str, tuple[int, int], np.ndarray | None, str]:
        """Return digest, width and height, grey cells, and the error message, if any."""
        found = ""
        try:
            data = dataset.read(index)
            found = digest(data)
            image = dataset.decode(index, data)
        except InputError as error:
            return found, (0, 0), None, str(error)
        return found, image.size, grey_cells(image), ""

    facts = list(in_threads(inspect, len(dataset), "checking photos", progress))
    digests, labels = [one[0] for one in facts], source.labels.tolist()
    blank = np.zeros((CELLS_SIDE, CELLS_SIDE), np.uint8)  # in no pair
    cells = np.stack([blank if one[2] is None else one[2] for one in facts])
    identical = list(identical_pairs(digests))
    near = [(a, b) for a, b in near_duplicates(cells).tolist() if digests[a] != digests[b]]
    sizes = np.array([one[1] for one in facts if one[2] is not None] or [(0, 0)])
    parts = source.parts or []
    return PhotoCheck(
        source=source,
        class_sizes={name: labels.count(label) for label, name in enumerate(source.class_names)},
        parts=dict(Counter(parts)),
        unreadable=[one[3] for one in facts if one[3]],
        sizes=(*sizes.min(0).tolist(), *sizes.max(0).tolist()),
        identical=identical,
        near=near,
        conflicting=sum(labels[a] != labels[b] for a, b in [*identical, *near]),
        across=sum(parts[a] != parts[b] for a, b in identical) if parts else 0,
    )

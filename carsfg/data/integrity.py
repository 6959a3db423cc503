"""What is in a data folder: counts, files that cannot be read, and byte-identical images."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from PIL import Image

from carsfg.data.crop_cache import digest, twins
from carsfg.data.sources.stanford_cars import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError


@dataclass(frozen=True)
class SplitReport:
    """The facts of one split.

    Attributes:
        images: the number of annotated images.
        fewest: images of the class that has the fewest.
        most: images of the class that has the most.
        single_channel: images stored with one channel.
        unreadable: one sentence for each image that cannot be used, with its file's name.
        digests: a digest of each file's bytes, `""` where the file cannot be opened.
        labels: the 0-based label of each image.
    """

    images: int
    fewest: int
    most: int
    single_channel: int
    unreadable: list[str]
    digests: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Report:
    """The facts of a data folder.

    Attributes:
        folder: the folder that holds `devkit/`.
        classes: the number of class names.
        train: the training split.
        test: the test split.
        identical: pairs of byte-identical images, in one split or across both.
        conflicting: how many of these pairs carry two labels.
        across: how many of these pairs lie in train and test.
    """

    folder: Path
    classes: int
    train: SplitReport
    test: SplitReport
    identical: int
    conflicting: int
    across: int

    @property
    def unreadable(self) -> list[str]:
        """The sentences about unusable images of both splits."""
        return self.train.unreadable + self.test.unreadable


def check(root: str | Path, crop: bool = True, progress: bool = True) -> Report:
    """Read and decode every image of both splits.

    Args:
        root: the folder that holds `stanford_cars/`.
        crop: images are to be cut to their boxes, so each box must lie in its image.
        progress: show a bar on the terminal.

    Raises:
        InputError: images or annotations are missing, or the annotation files do not fit together.
    """
    splits = [StanfordCars(root, "train", crop), StanfordCars(root, "test", crop)]
    train, test = (check_split(split, progress) for split in splits)
    pairs = list(identical_pairs(train.digests + test.digests))
    labels = train.labels + test.labels
    return Report(
        folder=splits[0].folder,
        classes=len(splits[0].class_names),
        train=train,
        test=test,
        identical=len(pairs),
        conflicting=sum(labels[one] != labels[other] for one, other in pairs),
        across=sum(one < train.images <= other for one, other in pairs),
    )


def check_split(dataset: StanfordCars, progress: bool = True) -> SplitReport:
    """Read and decode every image of a split.

    Args:
        dataset: the split.
        progress: show a bar on the terminal.
    """

    def inspect(index: int) -> tuple[str, bool, str]:
        """Give digest, whether it has a single channel, and what is wrong with it."""
        found, single = "", False
        try:
            data = dataset.read(index)
            found = digest(data)
            dataset.decode(index, data)
            single = channels(data) == 1
        except InputError as error:
            return found, single, str(error)
        return found, single, ""

    facts = list(in_threads(inspect, len(dataset), f"checking {dataset.split} images", progress))
    counts = torch.bincount(dataset.labels, minlength=len(dataset.class_names))
    return SplitReport(
        images=len(dataset),
        fewest=int(counts.min()),
        most=int(counts.max()),
        single_channel=sum(single for _, single, _ in facts),
        unreadable=[wrong for _, _, wrong in facts if wrong],
        digests=[found for found, _, _ in facts],
        labels=dataset.labels.tolist(),
    )


def channels(data: bytes) -> int:
    """Count the channels of an encoded image; it is not decoded.

    Args:
        data: the file's bytes.
    """
    with Image.open(io.BytesIO(data)) as image:
        return len(image.getbands())


def identical_pairs(digests: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Give the index pairs (smaller first) of equal digests; `""` equals nothing.

    Args:
        digests: of the files' bytes, by index.
    """
    for group in twins(digests):
        if digests[group[0]]:
            yield from combinations(group, 2)

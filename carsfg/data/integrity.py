"""The check of a data folder: counts, unreadable files, and byte-identical images."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from PIL import Image

from carsfg.data.image_io import DECODE_ERRORS
from carsfg.data.splits import repeated
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.files import digest


@dataclass(frozen=True)
class SplitCheck:
    """Result for one split.

    Attributes:
        images: number of annotated images.
        fewest: number of images of the smallest class.
        most: number of images of the largest class.
        single_channel: number of images stored with one channel.
        unreadable: one message for each image that cannot be used, with the name of its file.
        digests: digest of each file's bytes; `""` if the file cannot be read.
        labels: 0-based label of each image.
    """

    images: int
    fewest: int
    most: int
    single_channel: int
    unreadable: list[str]
    digests: list[str]
    labels: list[int]


@dataclass(frozen=True)
class DataCheck:
    """Result for a data folder.

    Attributes:
        folder: the folder that holds `devkit/`.
        classes: number of class names.
        train: result for the training split.
        test: result for the test split.
        identical: number of pairs of byte-identical images, within and across the splits.
        conflicting: number of these pairs with two different labels.
        across: number of these pairs with one image in train and one in test.
    """

    folder: Path
    classes: int
    train: SplitCheck
    test: SplitCheck
    identical: int
    conflicting: int
    across: int

    @property
    def unreadable(self) -> list[str]:
        """Messages about unusable images of both splits."""
        return self.train.unreadable + self.test.unreadable


def check(root: str | Path, crop: bool = True, progress: bool = True) -> DataCheck:
    """Read and decode every image of both splits.

    Args:
        root: the folder that holds `stanford_cars/`.
        crop: images are cut to their boxes, so each box must lie within its image.
        progress: show a progress bar.

    Raises:
        InputError: the folder, images or annotations are missing, or the annotation files do not belong together.
    """
    if not Path(root).is_dir():
        raise InputError(
            f"the folder {root} does not exist: get Stanford Cars with `carsfg data fetch`, or use drawn cars with "
            "`--config demo.yaml`"
        )
    splits = [StanfordCars(root, "train", crop), StanfordCars(root, "test", crop)]
    train, test = (check_split(split, progress) for split in splits)
    pairs = list(identical_pairs(train.digests + test.digests))
    labels = train.labels + test.labels
    return DataCheck(
        folder=splits[0].folder,
        classes=len(splits[0].class_names),
        train=train,
        test=test,
        identical=len(pairs),
        conflicting=sum(labels[one] != labels[other] for one, other in pairs),
        across=sum(one < train.images <= other for one, other in pairs),
    )


def check_split(dataset: StanfordCars, progress: bool = True) -> SplitCheck:
    """Read and decode every image of one split.

    Args:
        dataset: the split to check.
        progress: show a progress bar.
    """

    def inspect(index: int) -> tuple[str, bool, str]:
        """Return digest, whether the image has a single channel, and the error message, if any."""
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
    return SplitCheck(
        images=len(dataset),
        fewest=int(counts.min()),
        most=int(counts.max()),
        single_channel=sum(single for _, single, _ in facts),
        unreadable=[wrong for _, _, wrong in facts if wrong],
        digests=[found for found, _, _ in facts],
        labels=dataset.labels.tolist(),
    )


def channels(data: bytes) -> int:
    """Return the number of channels of an encoded image, from its head; 0 if the head does not tell.

    Args:
        data: bytes of the file.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return len(image.getbands())
    except DECODE_ERRORS:  # `read_image` can still read some of these files
        return 0


def identical_pairs(digests: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the index pairs (smaller first) of equal digests; `""` never matches.

    Args:
        digests: digest of each file's bytes.
    """
    for group in repeated(digests):
        yield from combinations(group, 2)

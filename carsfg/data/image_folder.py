"""A folder of images with their classes: Stanford Cars by its annotations, other folders by their sub-folders."""

import os.path
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from carsfg.data.crop_cache import resize_square
from carsfg.data.cropped_images import to_tensor
from carsfg.data.image_io import read_image
from carsfg.data.image_listing import SUFFIXES, list_images
from carsfg.data.sources.annotations import Split, annotation_file, find_folder
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Photos:
    """The images of a folder, with their classes.

    Attributes:
        folder: directory that was searched for images.
        paths: the N image files, sorted, or in the annotations' order.
        labels: int64 (N,), 0-based places in `class_names`.
        class_names: names of the C classes, in label order.
        cars: the data sets that crop the images, if the folder is Stanford Cars.
        left_out: one line that lists what was skipped in the folder; empty if nothing was.
    """

    folder: Path
    paths: list[Path]
    labels: Tensor
    class_names: list[str]
    cars: tuple[StanfordCars, ...] = ()
    left_out: str = ""

    @classmethod
    def find(cls, folder: str | Path, crop: bool = True, margin: float = 0.0, split: Split | None = None) -> "Photos":
        """Find the images of a folder; the class of an image is the path of its own folder below this one.

        Class names are brought to Unicode's composed form (NFC): folders that were copied by a Mac and that look the
        same are one class.

        Args:
            folder: folder with images at any depth; see `list_images` for what is taken.
            crop: cut the images of Stanford Cars to their boxes.
            margin: share of the box's width and height added on each side.
            split: split of Stanford Cars; both by default.

        Raises:
            InputError: the folder does not exist, cannot be read, has no images or no such split, or its annotations
                are damaged.
        """
        folder = Path(folder)
        if not is_folder(folder):
            raise InputError(f"there is no folder {folder}")
        if _is_stanford_cars(folder):
            names: tuple[Split, ...] = ("train", "test") if split is None else (split,)
            cars = tuple(StanfordCars(folder, name, crop, margin) for name in names)
            labels = torch.cat([one.labels for one in cars])
            return cls(folder, [path for one in cars for path in one.paths], labels, cars[0].class_names, cars)
        if split is not None:
            raise InputError(f"{folder} has no split {split!r}: only Stanford Cars with annotations has splits")
        annotated = next((path.parent for path in folder.glob("*/stanford_cars") if _is_stanford_cars(path)), None)
        if annotated:
            raise InputError(f"{folder} is not a folder of images, but {annotated} is Stanford Cars: name that folder")
        found = list_images(folder)
        if not found.paths:
            suffix = f"; {found.left_out}" if found.left_out else ""
            raise InputError(f"no image in {folder}: looked for {', '.join(SUFFIXES)} files{suffix}")
        of_each = [_class_name(path, folder) for path in found.paths]
        class_names = sorted(set(of_each))
        places = {name: place for place, name in enumerate(class_names)}
        labels = torch.tensor([places[name] for name in of_each])
        return cls(folder, found.paths, labels, class_names, left_out=found.left_out)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return an image's path below the folder.

        Args:
            index: place in `paths`.
        """
        return self.paths[index].relative_to(self.folder).as_posix()

    def load(self, index: int) -> Image.Image:
        """Decode one image as RGB, cropped if the folder has annotations and `crop` was set.

        Args:
            index: place in `paths`.

        Raises:
            InputError: the file cannot be read or decoded.
        """
        for one in self.cars:
            if index < len(one):
                return one.load(index)
            index -= len(one)
        return read_image(self.paths[index])

    def each(self, work: Callable[[Image.Image], T], progress: bool = True) -> Iterator[T | InputError]:
        """Decode all images and process them in threads; results come in order.

        Args:
            work: function of the RGB image from `load`; it runs in several threads at once.
            progress: show a progress bar.

        Returns:
            Result for each image, or the error if the image cannot be read.
        """

        def decode(index: int) -> T | InputError:
            try:
                return work(self.load(index))
            except InputError as error:
                return error

        return in_threads(decode, len(self), "indexing", progress)


def is_folder(path: str | Path) -> bool:
    """Return True if the path is a folder; False also if it cannot be accessed.

    Args:
        path: file or directory, which may be unreadable or missing.
    """
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises for overlong names and unreadable folders


def to_square(image: Image.Image, size: int) -> Tensor:
    """Resize an RGB image of any shape to uint8 (3, size, size), exactly as the crop cache does for training.

    Args:
        image: RGB picture of any size.
        size: side of the result in pixels.
    """
    return to_tensor(resize_square(image, size))


def _class_name(path: Path, folder: Path) -> str:
    below = path.parent.relative_to(folder).as_posix()
    return unicodedata.normalize("NFC", folder.resolve().name if below == "." else below)


def _is_stanford_cars(folder: Path) -> bool:
    try:
        return annotation_file(find_folder(folder), "train").is_file()
    except InputError:
        return False

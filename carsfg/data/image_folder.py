"""A folder of images with their classes: Stanford Cars by its annotations, any other by its sub-folders."""

import os.path
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from carsfg.data.crop_cache import RESAMPLING
from carsfg.data.image_io import read_photo
from carsfg.data.sources.annotations import Split, annotation_file, find_folder
from carsfg.data.sources.stanford_cars import StanfordCars, to_tensor
from carsfg.data.threads import in_threads
from carsfg.errors import InputError

T = TypeVar("T")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Photos:
    """Images in a folder, with their classes.

    Attributes:
        folder: where they lie.
        paths: of the N images, sorted, or in the annotations' order.
        labels: int64 (N,).
        class_names: in label order.
        cars: the data sets that crop them, where the folder is Stanford Cars.
    """

    folder: Path
    paths: list[Path]
    labels: Tensor
    class_names: list[str]
    cars: tuple[StanfordCars, ...] = ()

    @classmethod
    def find(cls, folder: str | Path, crop: bool = True, margin: float = 0.0, split: Split | None = None) -> "Photos":
        """Find the images of a folder; the class of one is the name of its own folder below it.

        Args:
            folder: with images anywhere below it; what begins with a dot is left out.
            crop: cut the images of Stanford Cars to their boxes.
            margin: fraction of the box added on each side.
            split: of Stanford Cars; both by default.

        Raises:
            InputError: there is no such folder, no image in it, its annotations are damaged, or it has no splits.
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
            raise InputError(f"{folder} has no split {split!r}: it is no Stanford Cars, with annotations")
        annotated = next((path.parent for path in folder.glob("*/stanford_cars")), None)
        if annotated:
            raise InputError(f"{folder} is no folder of images, but {annotated} is Stanford Cars: name that")
        paths = list_images(folder)
        if not paths:
            raise InputError(f"no image in {folder}: looked for {', '.join(SUFFIXES)} files")
        below = [path.parent.relative_to(folder).as_posix() for path in paths]
        of_each = [folder.resolve().name if name == "." else name for name in below]
        class_names = sorted(set(of_each))
        places = {name: place for place, name in enumerate(class_names)}
        return cls(folder, paths, torch.tensor([places[name] for name in of_each]), class_names)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Name an image by its path below the folder.

        Args:
            index: its place in `paths`.
        """
        return self.paths[index].relative_to(self.folder).as_posix()

    def load(self, index: int) -> Image.Image:
        """Decode one image as RGB, cropped where the annotations say so.

        Args:
            index: its place in `paths`.

        Raises:
            InputError: it cannot be read.
        """
        for one in self.cars:
            if index < len(one):
                return one.load(index)
            index -= len(one)
        return read_photo(self.paths[index])

    def each(self, work: Callable[[Image.Image], T], progress: bool = True) -> Iterator[T | InputError]:
        """Decode all images and work on them, in threads, in order; in place of one that cannot be read, say why.

        Args:
            work: takes the RGB image, as `load` gives it; it runs in several threads at once.
            progress: show a bar on the terminal.
        """

        def decode(index: int) -> T | InputError:
            try:
                return work(self.load(index))
            except InputError as error:
                return error

        return in_threads(decode, len(self), "indexing", progress)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there; what cannot even be looked at is none.

    Args:
        path: where to look.
    """
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises for names too long and folders closed to us


def list_images(folder: Path) -> list[Path]:
    """List all images below a folder, sorted; what begins with a dot is left out.

    Args:
        folder: where they lie, at any depth.
    """
    below = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    seen = (path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(path for path in seen if path.is_file())


def to_square(image: Image.Image, size: int) -> Tensor:
    """Resize an RGB image, whatever its shape, to uint8 (3, size, size), as the crops that networks learn from.

    Args:
        image: RGB.
        size: side of the result, in pixels.
    """
    return to_tensor(image if image.size == (size, size) else image.resize((size, size), RESAMPLING))


def _is_stanford_cars(folder: Path) -> bool:
    try:
        return annotation_file(find_folder(folder), "train").is_file()
    except InputError:
        return False

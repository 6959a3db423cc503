"""A gallery of any folder of images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from carsfg.data.crops import RESAMPLING
from carsfg.data.layout import find_folder
from carsfg.data.photo import read_photo
from carsfg.data.stanford_cars import StanfordCars
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.retrieval.gallery import Gallery
from carsfg.retrieval.metrics import Metric

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
EXACT = 100_000  # images up to which an exact search takes milliseconds
PROBES = 1000  # gallery images that an approximate index is measured with


@dataclass(frozen=True)
class Photos:
    """Images in a folder, with their classes.

    Attributes:
        folder: where they lie.
        paths: below it, sorted.
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
    def find(cls, folder: str | Path, crop: bool = True) -> "Photos":
        """Find the images of a folder: Stanford Cars by its annotations, else the class is an image's own folder.

        Args:
            folder: with images anywhere below it.
            crop: cut the images of Stanford Cars to their boxes.

        Raises:
            InputError: there is no such folder, no image in it, or damaged annotations.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"no folder {folder}")
        if _is_stanford_cars(folder):
            cars = tuple(StanfordCars(folder, name, crop) for name in ("train", "test"))
            paths = [path for one in cars for path in one.paths]
            return cls(folder, paths, torch.cat([one.labels for one in cars]), cars[0].class_names, cars)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not paths:
            raise InputError(f"no image in {folder}: looked for {', '.join(sorted(SUFFIXES))} files")
        names = [path.parent.relative_to(folder).as_posix() for path in paths]
        class_names = sorted(set(names))
        places = {name: place for place, name in enumerate(class_names)}
        return cls(folder, paths, torch.tensor([places[name] for name in names]), class_names)

    def load(self, index: int) -> Image.Image:
        """Decode one image as RGB, cropped where the annotations say so.

        Raises:
            InputError: it cannot be read.
        """
        for one in self.cars:
            if index < len(one):
                return one.load(index)
            index -= len(one)
        return read_photo(self.paths[index])

    def batches(self, size: int, batch_size: int = 64, progress: bool = True) -> Iterator["Loaded"]:
        """Decode all images, `size` pixels square as crops are stored, in batches; the unreadable are told apart."""

        def decode(index: int) -> Tensor | str:
            try:
                return to_square(self.load(index), size)
            except InputError as error:
                return str(error)

        images: list[Tensor] = []
        indices: list[int] = []
        for index, found in enumerate(in_threads(decode, len(self.paths), "reading images", progress)):
            if isinstance(found, str):
                yield Loaded(None, [index], found)
                continue
            images.append(found)
            indices.append(index)
            if len(images) == batch_size:
                yield Loaded(torch.stack(images), indices)
                images, indices = [], []
        if images:
            yield Loaded(torch.stack(images), indices)


@dataclass(frozen=True)
class Loaded:
    """A batch of images (B, 3, S, S), uint8, and where they stand; or an image that could not be read, and why."""

    images: Tensor | None
    indices: Sequence[int]
    complaint: str = ""


def to_square(image: Image.Image, size: int) -> Tensor:
    """Resize an RGB image, whatever its shape, to uint8 (3, size, size), as the crops that networks learn from."""
    if image.size != (size, size):
        image = image.resize((size, size), RESAMPLING)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def choose_factory(count: int) -> str:
    """Return FAISS's description of a good index for so many embeddings: exact, or a graph beyond 100,000."""
    return "Flat" if count <= EXACT else "HNSW32"


def recall_at_10(gallery: Gallery, embeddings: Tensor, metric: Metric) -> float:
    """Return the share of the exact ten nearest that an approximate index finds, over 1,000 of its own images."""
    some = torch.from_numpy(np.random.default_rng(0).permutation(len(embeddings))[:PROBES])
    exact = Gallery.build(embeddings, gallery.labels, metric=metric).search(embeddings[some], 10, some)[1]
    found = gallery.search(embeddings[some], 10, some)[1]
    hits = [len(set(a) & set(b)) / len(a) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    return float(np.mean(hits))


def _is_stanford_cars(folder: Path) -> bool:
    try:
        find_folder(folder)
    except InputError:
        return False
    return True

"""From a photo to the most similar cars of a gallery."""

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carsfg.data.class_names import parse
from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box, crop_photo, read_photo
from carsfg.errors import InputError
from carsfg.hardware import computes_in_bfloat16
from carsfg.search.calibration import UNKNOWN, known_p
from carsfg.search.gallery import NETWORK, Gallery
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import load
from carsfg.tasks.fingerprint import fingerprint

CLASSES = 5  # of the head's, the most probable


@dataclass(frozen=True)
class Match:
    """An image of the gallery.

    Attributes:
        rank: from 1.
        name: its class.
        make: of the class, as are `body` and `year`; see `carsfg.data.class_names`.
        body: likewise.
        year: likewise; None where the name says none.
        similarity: the cosine, or the Euclidean distance below zero.
        path: below the folder that was indexed; empty where the gallery has no paths.
        place: in the gallery.
    """

    rank: int
    name: str
    make: str
    body: str
    year: int | None
    similarity: float
    path: str
    place: int


@dataclass(frozen=True)
class Share:
    """A class, and its share of the vote or its probability, 0..1."""

    name: str
    share: float


@dataclass(frozen=True)
class Answer:
    """What was found for a photo.

    Attributes:
        matches: the nearest images, nearest first.
        vote: the classes of those, by how many of them there are; as the k-NN vote counts them.
        classes: the five classes that the network's head holds most probable.
        known: p-value of the photo as one of a known car, see `carsfg.search.calibration`; None where the gallery was
            not calibrated.
        seconds: that `decode`, `embed` and `search` took.
    """

    matches: list[Match]
    vote: list[Share]
    classes: list[Share]
    known: float | None
    seconds: dict[str, float]

    @property
    def is_known(self) -> bool | None:
        """Whether it is a car like the gallery's: not one photo in twenty of those has a `known` below 0.05."""
        return None if self.known is None else self.known >= UNKNOWN


class VisualSearch:
    """Answers photos: `VisualSearch(task, gallery).search("photo.jpg")`.

    Args:
        task: the network that embedded the gallery, as `carsfg.load` gives it.
        gallery: as `Gallery.load` gives it.

    Raises:
        InputError: the gallery was made by another network.
    """

    def __init__(self, task: CarsTask, gallery: Gallery) -> None:
        gallery.check_network(fingerprint(task))
        self.task, self.gallery = task, gallery
        self.cars = [parse(name) for name in gallery.class_names]
        self.size = int(gallery.stamp.get("image_size", task.hparams["image_size"]))
        half = str(gallery.stamp.get("precision", "")).startswith("bf16")
        self.bfloat16 = half and computes_in_bfloat16(task.device.type)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "cpu",
        mmap: bool = False,
    ) -> "VisualSearch":
        """Read a gallery, and the network that lies in it.

        Args:
            folder: the gallery's.
            checkpoint: the network, if not that in the gallery.
            device: where to put the network.
            mmap: leave the index on disk.

        Raises:
            InputError: either cannot be read, or they do not belong together.
        """
        gallery, network = Gallery.load(folder, mmap), Path(checkpoint or Path(folder) / NETWORK)
        if checkpoint is None and not network.is_file():
            raise InputError(f"there is no network in the gallery {folder}: name its checkpoint")
        return cls(load(network, device), gallery)

    def among(self, make: str | None = None, body: str | None = None, year: int | None = None) -> torch.Tensor:
        """Return which images of the gallery, bool (N,), are of such cars; None: any.

        Args:
            make: such as `Aston Martin`; see `carsfg.data.class_names`.
            body: such as `Sedan`; likewise.
            year: such as 2012.

        Raises:
            InputError: there is no such car in the gallery.
        """
        wanted = {"make": make, "body": body, "year": year}
        fits = [all(one in (None, getattr(car, part)) for part, one in wanted.items()) for car in self.cars]
        chosen = torch.tensor(fits, dtype=torch.bool)[self.gallery.labels] if fits else torch.zeros(0, dtype=torch.bool)
        if not chosen.any():
            said = ", ".join(f"{part} {one}" for part, one in wanted.items() if one is not None)
            raise InputError(f"there is no car of {said} in the gallery")
        return chosen

    def search(
        self,
        photo: str | Path | bytes | Image.Image,
        k: int = 10,
        box: Box | None = None,
        among: torch.Tensor | None = None,
    ) -> Answer:
        """Find the most similar images of the gallery.

        Args:
            photo: a file's path or bytes, or an upright RGB image.
            k: how many to find, and to let vote.
            box: the car in the photo, `x0, y0, x1, y1` in pixels, half-open; the whole photo by default.
            among: bool (N,), images of the gallery to search; all by default.

        Raises:
            InputError: the photo cannot be used, the box leaves it, or k is less than 1.
        """
        if k < 1:
            raise InputError(f"k is {k}: ask for 1 image or more")
        begun = time.perf_counter()
        image = photo if isinstance(photo, Image.Image) else read_photo(photo)
        pixels = to_square(crop_photo(image, box), self.size)
        decoded = time.perf_counter()
        embedding, probabilities = self._embed(pixels)
        embedded = time.perf_counter()
        scores, places = self.gallery.search(embedding, k, among=among)
        searched = time.perf_counter()
        matches = [
            self._match(rank, score, place)
            for rank, (score, place) in enumerate(zip(scores[0].tolist(), places[0].tolist(), strict=True), 1)
            if place >= 0
        ]
        top = probabilities.topk(min(CLASSES, len(probabilities)))
        return Answer(
            matches=matches,
            vote=self._vote(matches),
            classes=[
                Share(self.task.class_names[label], share)
                for share, label in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ],
            known=self._known(embedding) if self.gallery.known else None,
            seconds={"decode": decoded - begun, "embed": embedded - decoded, "search": searched - embedded},
        )

    @torch.inference_mode()
    def _embed(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (1, D) and the head's probabilities (C,)."""
        device = self.task.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            out = self.task(pixels[None].to(device))
        return out["embedding"].float().cpu(), out["logits"][0].float().softmax(0).cpu()

    def _known(self, embedding: torch.Tensor) -> float:
        """Compare with all of the gallery, whatever is searched."""
        return known_p(float(self.gallery.search(embedding, 1)[0]), self.gallery.known)

    def _match(self, rank: int, similarity: float, place: int) -> Match:
        gallery = self.gallery
        label = int(gallery.labels[place])
        path = gallery.paths[place] if gallery.paths else ""
        if not self.cars:
            return Match(rank, str(label), "", "", None, similarity, path, place)
        car = self.cars[label]
        return Match(rank, gallery.class_names[label], car.make, car.body, car.year, similarity, path, place)

    def _vote(self, matches: list[Match]) -> list[Share]:
        """Count the matches of each class; of equals the smallest label comes first, as in `metrics.knn_labels`."""
        labels = [int(self.gallery.labels[match.place]) for match in matches]
        names = dict(zip(labels, (match.name for match in matches), strict=True))
        counts = sorted(Counter(labels).items(), key=lambda one: (-one[1], one[0]))
        return [Share(names[label], count / len(matches)) for label, count in counts]


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON has it.

    Args:
        answer: what `VisualSearch.search` found.
    """
    return {**asdict(answer), "is_known": answer.is_known}

"""Visual search: from a photo to the most similar cars of a gallery."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box
from carsfg.data.photo import Photo, read_photo
from carsfg.errors import InputError
from carsfg.hardware import computes_in_bfloat16
from carsfg.retrieval.mirror import mirrored_mean
from carsfg.run_record import RunRecord
from carsfg.search.answer import Answer, Match, Share
from carsfg.search.box_choice import BoxSource, choose_for_queries
from carsfg.search.calibration import p_value
from carsfg.search.car_box import MAX_SIDE_PX, cut
from carsfg.search.finders import box_line, make_finder
from carsfg.search.gallery import Gallery
from carsfg.search.storage import NETWORK
from carsfg.tasks.checkpoints import load
from carsfg.tasks.fingerprint import fingerprint
from carsfg.tasks.inference import load_for_inference
from carsfg.tasks.network import CarsNetwork

MAX_CLASSES = 5  # of the head, the most probable ones


class VisualSearch:
    """Search with photos: `VisualSearch(task, gallery).search("photo.jpg")`.

    Args:
        task: the network that embedded the gallery, as `carsfg.load` gives it.
        gallery: as `Gallery.load` gives it.
        finder: finds the car in photos that come without a box; None takes them whole.
        mirror: search with the mean of the embeddings of a photo and its mirror image, see
            `carsfg.retrieval.mirror`; the gallery, the classes of the head and the p-value stay as they are.

    Attributes:
        box_line: how photos are cut, in one line; empty if nothing was decided.

    Raises:
        InputError: the gallery was made by another network.
    """

    def __init__(
        self, task: CarsNetwork, gallery: Gallery, finder: BoxSource | None = None, mirror: bool = False
    ) -> None:
        gallery.check_network(fingerprint(task))
        self.task, self.gallery, self.finder, self.box_line = task, gallery, finder, ""
        self.mirror = mirror
        self.size = input_size(gallery.record, task)
        self.bfloat16 = gallery.record.precision.startswith("bf16") and computes_in_bfloat16(task.device.type)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        checkpoint: str | Path | None = None,
        device: str | torch.device = "cpu",
        mmap: bool = False,
        box: str | None = None,
        detector_weights: str | Path | None = None,
        mirror: bool = False,
        inference: bool = False,
    ) -> "VisualSearch":
        """Read a gallery and its network.

        Args:
            folder: directory that `carsfg index` wrote.
            checkpoint: of the network; by default the one that was saved with the gallery.
            device: where photos are embedded, such as `cpu` or `cuda`.
            mmap: leave the gallery's index and arrays on disk.
            box: how the car is found in photos without a box: `auto`, `none` or `detector`; by default as in the
                gallery's images, see `carsfg.search.box_choice`.
            detector_weights: file of the detector's weights; None downloads them.
            mirror: search with the mean of the embeddings of a photo and its mirror image.
            inference: load the network without what training needs, see `carsfg.tasks.inference`: that starts sooner,
                and `task` is not a LightningModule then.

        Raises:
            InputError: gallery, network or the detector's weights cannot be read, another network made the gallery, or
                the car cannot be found in that way.
        """
        gallery, network = Gallery.load(folder, mmap), Path(checkpoint or Path(folder) / NETWORK)
        if checkpoint is None and not network.is_file():
            raise InputError(f"the gallery {folder} holds no network: name its checkpoint")
        task = load_for_inference(network, device) if inference else load(network, device)
        search, record = cls(task, gallery, mirror=mirror), gallery.record
        mode, reason = choose_for_queries(box, record)
        search.finder = make_finder(mode, search.task, search.bfloat16, detector_weights, asked=box is not None)
        search.box_line = box_line(mode, reason, search.finder, record, "the photos")
        return search

    def among(self, wanted: Mapping[str, str]) -> torch.Tensor:
        """Return which images of the gallery have all of some attributes, bool (N,); see `Attributes.among`.

        Args:
            wanted: values by name, such as `{"make": "BMW", "year": "2012"}`.

        Raises:
            InputError: the gallery has no such attribute, or no such image.
        """
        return self.gallery.attributes.among(wanted)

    def read(
        self,
        photo: str | Path | bytes,
        part: Callable[[int, int], Box | None] | None = None,
        whole_px: int = 0,
        name: str | None = None,
    ) -> Photo:
        """Decode a photo as a search needs it, by the rule of the gallery's images; see `carsfg.data.photo`.

        Args:
            photo: path or bytes of a file.
            part: takes width and height of the upright photo in pixels, and returns the box of the car; None: the car
                is to be found by `finder`, or the whole photo is searched for.
            whole_px: longer side that the whole photo needs for another purpose, in pixels.
            name: of the photo in error messages; the path by default.

        Raises:
            InputError: the photo cannot be decoded.
        """
        if part is None and self.finder is not None:
            whole_px = max(whole_px, MAX_SIDE_PX)
        elif part is None:
            return read_photo(photo, self.size, lambda *_: None, whole_px, name)
        return read_photo(photo, self.size, part, whole_px, name)

    def search(
        self,
        photo: str | Path | bytes | Image.Image | Photo,
        k: int = 10,
        box: Box | None = None,
        among: torch.Tensor | None = None,
    ) -> Answer:
        """Find the most similar images of the gallery.

        Args:
            photo: path or bytes of a file, which is decoded as the gallery's images are, see `carsfg.data.photo`; or an
                upright RGB image.
            k: images to find, which also vote.
            box: of the car in the photo, `x0, y0, x1, y1` in pixels, half-open; by default as `finder` finds it.
            among: bool (N,), images of the gallery to search; all by default.

        Raises:
            InputError: the photo cannot be decoded, the box leaves it, or k is less than 1.
        """
        return self.search_with_picture(photo, k, box, among)[0]

    def search_with_picture(
        self,
        photo: str | Path | bytes | Image.Image | Photo,
        k: int = 10,
        box: Box | None = None,
        among: torch.Tensor | None = None,
        name: str | None = None,
    ) -> tuple[Answer, Image.Image]:
        """Find the most similar images of the gallery, and return the decoded photo as well, to draw it.

        Args:
            photo: path, bytes or RGB image, as in `search`; or what `read` returned.
            k: images to find, which also vote.
            box: of the car in the photo, `x0, y0, x1, y1` in pixels, half-open; by default as `finder` finds it.
            among: bool (N,), images of the gallery to search; all by default.
            name: of the photo in the message about its box.

        Returns:
            The answer, and the part of the photo inside the box, RGB.

        Raises:
            InputError: the photo cannot be decoded, the box leaves it, or k is less than 1.
        """
        if k < 1:
            raise InputError(f"k is {k}: ask for 1 image or more")
        begun = time.perf_counter()
        if isinstance(photo, str | Path | bytes):
            photo = self.read(photo, None if box is None else lambda *_: box)
        whole = Photo.of(photo) if isinstance(photo, Image.Image) else photo
        picture, seconds = whole.part(box, name or "the photo"), {}
        if box is None and self.finder is not None and whole.size != (self.size, self.size):  # that is a crop already
            looked = time.perf_counter()
            ((picture, box),) = cut(self.finder, [whole])
            seconds["find"] = time.perf_counter() - looked
        pixels = to_square(picture, self.size)
        decoded = time.perf_counter()
        embedding, probabilities = self._embed(pixels)
        query = (
            mirrored_mean(embedding, self._embed(pixels.flip(2))[0], self.gallery.metric) if self.mirror else embedding
        )
        embedded = time.perf_counter()
        scores, places = self.gallery.search(query, min(k, len(self.gallery)), among=among)
        searched = time.perf_counter()
        matches = [
            self._match(rank, score, place)
            for rank, (score, place) in enumerate(zip(scores[0].tolist(), places[0].tolist(), strict=True), 1)
            if place >= 0
        ]
        top = probabilities.topk(min(MAX_CLASSES, len(probabilities)))  # none without a head
        answer = Answer(
            matches=matches,
            vote=self._vote(matches),
            classes=[
                Share(self.task.class_names[label], share)
                for share, label in zip(top.values.tolist(), top.indices.tolist(), strict=True)
            ],
            known=self._known(embedding, float(scores[0, 0]) if among is None and not self.mirror else None),
            seconds={
                "decode": decoded - begun - sum(seconds.values()),
                **seconds,
                "embed": embedded - decoded,
                "search": searched - embedded,
            },
            box=box,
            mirror=self.mirror,
        )
        return answer, picture

    @torch.inference_mode()
    def _embed(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embedding (1, D) and the head's probabilities (C,); without a head C is 0."""
        device = self.task.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            out = self.task(pixels[None].to(device))
        probabilities = out["logits"][0].float().softmax(0).cpu() if self.task.has_head else torch.empty(0)
        return out["embedding"].float().cpu(), probabilities

    def _known(self, embedding: torch.Tensor, best: float | None) -> float | None:
        """Return the p-value of a photo; None if the gallery is not calibrated.

        Args:
            embedding: of the photo, (1, D).
            best: score of the nearest image of the whole gallery; None if only some images were searched, or with a
                mirrored query, since the images of the calibration are not mirrored.
        """
        if not self.gallery.calibration:
            return None
        score = float(self.gallery.search(embedding, 1)[0]) if best is None else best
        return p_value(score, self.gallery.calibration)

    def _match(self, rank: int, similarity: float, place: int) -> Match:
        gallery = self.gallery
        label = int(gallery.labels[place])
        path = gallery.paths[place] if len(gallery.paths) else ""
        name = gallery.class_names[label] if gallery.class_names else str(label)
        return Match(rank, name, gallery.attributes.at(place), similarity, path, place)

    def _vote(self, matches: list[Match]) -> list[Share]:
        """Count the matches per class; ties go to the smallest label, as in `metrics.knn_labels`."""
        labels = [int(self.gallery.labels[match.place]) for match in matches]
        names = dict(zip(labels, (match.name for match in matches), strict=True))
        counts = sorted(Counter(labels).items(), key=lambda one: (-one[1], one[0]))
        return [Share(names[label], count / len(matches)) for label, count in counts]


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values for JSON.

    Args:
        answer: of `VisualSearch.search`.
    """
    return {**asdict(answer), "is_known": answer.is_known}


def input_size(record: RunRecord, task: CarsNetwork) -> int:
    """Return the side of the square images that a network was trained on, in pixels; it resizes them to its own size.

    Args:
        record: of the run that trained it.
        task: network that embeds the photos.
    """
    return int(record.data.get("image_size") or record.task.get("image_size") or task.hparams["image_size"])

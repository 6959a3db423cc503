"""Building the gallery of a folder: embedding its images, choosing an index and measuring it."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from carsfg.data.box_table import BoxTable
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box, crop_photo
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.files import checksum
from carsfg.retrieval.faiss_index import nearest, set_effort
from carsfg.retrieval.similarity import prepare, score_chunks
from carsfg.search.box_choice import BoxSource
from carsfg.search.car_box import cut, shrink, to_pixels
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import encode
from carsfg.tasks.base import CarsTask

MAX_EXACT_IMAGES = 100_000  # up to which an exact search takes milliseconds
MEASURED_IMAGES = 500  # images of the gallery that measure the recall of an approximate index
MIN_RECALL = 0.97  # recall@10 to reach on those, so that it is above 0.95 on others


@dataclass
class EmbeddedPhotos:
    """Embeddings and small pictures of a folder's images.

    Attributes:
        embeddings: float32 (M, D), of the M images that could be decoded.
        places: of those images in the folder.
        jpegs: small pictures of those images.
        complaints: messages about the images that could not be used.
        boxes: of those images, `x0, y0, x1, y1` in pixels of the file, half-open, from a table or from a finder; None
            for images that were taken as they are.
    """

    embeddings: Tensor
    places: list[int] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)

    @property
    def boxed(self) -> int:
        """Number of images that were cut to a box from a table or from a finder."""
        return sum(box is not None for box in self.boxes)


def shared_images(gallery: CroppedImages, others: CroppedImages) -> list[str]:
    """Return the names of the images of a second folder that are byte-identical to an image of the first.

    Args:
        gallery: the first folder.
        others: the second folder.
    """
    sizes = {path: path.stat().st_size for path in (*gallery.paths, *others.paths) if path.is_file()}
    common = {sizes.get(path) for path in gallery.paths} & {sizes.get(path) for path in others.paths}
    readable = {path for path, size in sizes.items() if size in common and os.access(path, os.R_OK)}
    own = {checksum(path) for path in gallery.paths if path in readable}
    paths = enumerate(others.paths)
    return [others.source.name(place) for place, path in paths if path in readable and checksum(path) in own]


@torch.no_grad()
def embed_photos(
    task: CarsTask,
    photos: CroppedImages,
    size: int,
    bfloat16: bool = False,
    batch_size: int = 64,
    progress: bool = True,
    finder: BoxSource | None = None,
    table: BoxTable | None = None,
    pictures: bool = True,
) -> EmbeddedPhotos:
    """Embed all images of a folder; images that cannot be decoded are left out, and named.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        photos: images with their class labels.
        size: side of the square images that the network was trained on, in pixels; see `input_size`.
        bfloat16: use bfloat16 autocast.
        batch_size: images per batch.
        progress: show a progress bar.
        finder: finds the car in images that have no box in the table; None takes them whole.
        table: boxes of images by path.
        pictures: also make small pictures, `jpegs` of the result, which are empty otherwise.

    Raises:
        InputError: none can be decoded.
    """
    result = EmbeddedPhotos(torch.empty(0))
    parts = []
    for batch in _batches(_Decoding(photos, size, finder, table, pictures), result, batch_size, progress):
        with torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16):
            parts.append(task.embed({"image": batch.to(task.device)}).float().cpu())
    if not parts:
        raise InputError(f"none of the {len(photos)} images in {photos.folder} can be decoded: {result.complaints[0]}")
    result.embeddings = torch.cat(parts)
    return result


@dataclass(frozen=True)
class _Decoding:
    """How the images of a folder become squares."""

    photos: CroppedImages
    size: int
    finder: BoxSource | None
    table: BoxTable | None
    pictures: bool

    def decode(self, index: int) -> "_Decoded | InputError":
        """Decode one image, in a thread; it is resized at once unless the car in it is still to be found."""
        path = self.photos.paths[index]
        try:
            image = self.photos.load(index)
            box = self.table.find(path) if self.table else None
            if self.table and box:
                image = crop_photo(image, box, self.table.name(path))
            elif self.finder is not None and image.size != (self.size, self.size):  # that is a crop already
                return _Decoded(index, photo=shrink(image), size=image.size)
            return self._finished(index, image, box)
        except InputError as error:
            return error

    def finish(self, some: list["_Decoded"]) -> list["_Decoded"]:
        """Find the cars in those that wait for it, and resize them."""
        waiting = [one for one in some if one.photo is not None]
        if not waiting or self.finder is None:
            return some
        found = cut(self.finder, [one.photo for one in waiting if one.photo is not None])
        done = {
            one.place: self._finished(one.place, part, one.in_file(box))
            for one, (part, box) in zip(waiting, found, strict=True)
        }
        return [done.get(one.place, one) for one in some]

    def _finished(self, place: int, image: Image.Image, box: Box | None) -> "_Decoded":
        return _Decoded(place, to_square(image, self.size), encode(image) if self.pictures else b"", box)


@dataclass(frozen=True)
class _Decoded:
    """An image of the folder: its square, uint8 (3, S, S), and its JPEG file; or the photo to find the car in.

    `photo` is shrunk, `size` is width and height of the file in pixels.
    """

    place: int
    square: Tensor | None = None
    jpeg: bytes = b""
    box: Box | None = None
    photo: Image.Image | None = None
    size: tuple[int, int] = (0, 0)

    def in_file(self, box: Box | None) -> Box | None:
        """Return a box in the shrunk photo as pixels of the file, as `cut` does for queries."""
        if box is None or self.photo is None:
            return None
        (x0, y0, x1, y1), (width, height) = box, self.photo.size
        return to_pixels((x0 / width, y0 / height, x1 / width, y1 / height), self.size)


def _batches(decoding: _Decoding, result: EmbeddedPhotos, batch_size: int, progress: bool) -> Iterator[Tensor]:
    """Yield batches, uint8 (B, 3, size, size), and add to the result what they are made of."""
    some: list[_Decoded] = []

    def batch() -> Tensor:
        done = decoding.finish([*some])
        result.places += [one.place for one in done]
        result.jpegs += [one.jpeg for one in done]
        result.boxes += [one.box for one in done]
        some.clear()
        return torch.stack([one.square for one in done if one.square is not None])

    for found in in_threads(decoding.decode, len(decoding.photos), "embedding", progress):
        if isinstance(found, InputError):
            result.complaints.append(str(found))
            continue
        some.append(found)
        if len(some) == batch_size:
            yield batch()
    if some:
        yield batch()


def choose_factory(count: int) -> str:
    """Return the FAISS factory of an index: exact up to 100,000 embeddings, above that an inverted file.

    The number of lists is about twice the square root of the count, rounded to a power of two.

    Args:
        count: number of embeddings.
    """
    return "Flat" if count <= MAX_EXACT_IMAGES else f"IVF{2 ** round(math.log2(2 * math.sqrt(count)))},Flat"


def tune(gallery: Gallery, embeddings: Tensor, enough: float = MIN_RECALL) -> float:
    """Double the effort of an approximate index until its recall@10 is high enough; return recall@10.

    It is measured on 500 of the gallery's own images, each searched among the others. An index that searches all its
    items, or whose effort cannot be set, stays as it is.

    Args:
        gallery: with an index of any kind; its effort is changed.
        embeddings: float (N, D), of all its images.
        enough: recall@10, 0..1.
    """
    some = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))[:MEASURED_IMAGES]
    queries = prepare(embeddings[some], gallery.metric)
    chunks = score_chunks(queries, prepare(embeddings, gallery.metric), some, gallery.metric)
    truth, effort = torch.cat([nearest(scores, 10)[1] for _, scores in chunks]), 1
    recall = _recall(gallery.search(queries, 10, some)[1], truth)
    while recall < enough and effort < len(gallery):
        effort *= 2
        try:
            set_effort(gallery.index, effort)
        except InputError:
            break
        recall = _recall(gallery.search(queries, 10, some)[1], truth)
    return recall


def _recall(found: Tensor, truth: Tensor) -> float:
    """Return the share of the true neighbours (Q, K) that were found (Q, K); 1 if there are no true neighbours."""
    there = truth >= 0
    return float(((found[:, :, None] == truth[:, None]).any(1) & there).sum() / there.sum()) if there.any() else 1.0

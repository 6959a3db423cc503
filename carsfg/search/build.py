"""Building the gallery of a folder: embedding its images, choosing an index and measuring it."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carsfg.data.image_folder import Photos, to_square
from carsfg.errors import InputError
from carsfg.files import checksum
from carsfg.retrieval.faiss_index import nearest, set_effort
from carsfg.retrieval.similarity import prepare, score_chunks
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
        complaints: messages about the images that could not be decoded.
    """

    embeddings: Tensor
    places: list[int] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def shared_images(gallery: Photos, others: Photos) -> list[str]:
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
    return [others.name(place) for place, path in paths if path in readable and checksum(path) in own]


@torch.no_grad()
def embed_photos(
    task: CarsTask, photos: Photos, size: int, bfloat16: bool = False, batch_size: int = 64, progress: bool = True
) -> EmbeddedPhotos:
    """Embed all images of a folder; images that cannot be decoded are left out, and named.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        photos: images with their class labels.
        size: side of the square images that the network was trained on, in pixels; see `input_size`.
        bfloat16: use bfloat16 autocast.
        batch_size: images per batch.
        progress: show a progress bar.

    Raises:
        InputError: none can be decoded.
    """
    result = EmbeddedPhotos(torch.empty(0))
    parts = []
    for batch in _batches(photos, result, size, batch_size, progress):
        with torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16):
            parts.append(task.embed({"image": batch.to(task.device)}).float().cpu())
    if not parts:
        raise InputError(f"none of the {len(photos)} images in {photos.folder} can be decoded: {result.complaints[0]}")
    result.embeddings = torch.cat(parts)
    return result


def _batches(photos: Photos, result: EmbeddedPhotos, size: int, batch_size: int, progress: bool) -> Iterator[Tensor]:
    """Yield batches, uint8 (B, 3, size, size), and add to the result what they are made of."""
    images: list[Tensor] = []
    for place, found in enumerate(photos.each(lambda image: (to_square(image, size), encode(image)), progress)):
        if isinstance(found, InputError):
            result.complaints.append(str(found))
            continue
        images.append(found[0])
        result.places.append(place)
        result.jpegs.append(found[1])
        if len(images) == batch_size:
            yield torch.stack(images)
            images = []
    if images:
        yield torch.stack(images)


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

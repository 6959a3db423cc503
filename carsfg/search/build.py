"""A gallery of a folder of images: embedding them, choosing an index, and measuring it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carsfg.data.image_folder import Photos, to_square
from carsfg.errors import InputError
from carsfg.retrieval.faiss_index import look_at, nearest
from carsfg.retrieval.metrics import prepare, score_chunks
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import encode
from carsfg.tasks.base import CarsTask

EXACT = 100_000  # images up to which an exact search takes milliseconds
PROBES = 500  # gallery images that an approximate index is measured with
ENOUGH = 0.97  # recall@10 that is asked of it on those, so that 0.95 is sure on others


@dataclass
class EmbeddedPhotos:
    """What a network made of a folder's images.

    Attributes:
        embeddings: float32 (M, D), of the M images that could be read.
        places: of those in the folder.
        jpegs: small pictures of those.
        complaints: one for each image that could not be read.
    """

    embeddings: Tensor
    places: list[int] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@torch.no_grad()
def embed_photos(
    task: CarsTask, photos: Photos, size: int, bfloat16: bool = False, batch_size: int = 64, progress: bool = True
) -> EmbeddedPhotos:
    """Embed all images of a folder; those that cannot be read are left out, and named.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        photos: the folder.
        size: side of the squares that the network learned from, in pixels.
        bfloat16: compute in it where autocast does.
        batch_size: images at a time.
        progress: show a bar.

    Raises:
        InputError: none can be read.
    """
    result = EmbeddedPhotos(torch.empty(0))
    parts = []
    for batch in _batches(photos, result, size, batch_size, progress):
        with torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16):
            parts.append(task.embed({"image": batch.to(task.device)}).float().cpu())
    if not parts:
        raise InputError(f"none of the {len(photos)} images in {photos.folder} can be read: {result.complaints[0]}")
    result.embeddings = torch.cat(parts)
    return result


def _batches(photos: Photos, result: EmbeddedPhotos, size: int, batch_size: int, progress: bool) -> Iterator[Tensor]:
    """Yield batches, uint8 (B, 3, size, size), and note down what they are of."""
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
    """Return FAISS's description of a good index of so many embeddings: exact, or lists of neighbours beyond 100,000.

    There are about twice as many lists as the root of the count, a power of two.

    Args:
        count: how many embeddings.
    """
    return "Flat" if count <= EXACT else f"IVF{2 ** round(math.log2(2 * math.sqrt(count)))},Flat"


def tune(gallery: Gallery, embeddings: Tensor, enough: float = ENOUGH) -> float:
    """Let an approximate index look further until it finds enough of the exact nearest; return recall@10.

    It is measured on 500 of the gallery's own images, each searched among the others. An index that looks everywhere,
    or cannot look further, stays as it is.

    Args:
        gallery: with an index of any kind.
        embeddings: float (N, D), of all that is in it.
        enough: recall@10, 0..1.
    """
    some = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))[:PROBES]
    queries = prepare(embeddings[some], gallery.metric)
    chunks = score_chunks(queries, prepare(embeddings, gallery.metric), some, gallery.metric)
    truth, effort = torch.cat([nearest(scores, 10)[1] for _, scores in chunks]), 1
    recall = _recall(gallery.search(queries, 10, some)[1], truth)
    while recall < enough and effort < len(gallery):
        effort *= 2
        try:
            look_at(gallery.index, effort)
        except InputError:
            break
        recall = _recall(gallery.search(queries, 10, some)[1], truth)
    return recall


def _recall(found: Tensor, truth: Tensor) -> float:
    """Return the share of true neighbours (Q, K) among those found (Q, K); 1 where there are none."""
    there = truth >= 0
    return float(((found[:, :, None] == truth[:, None]).any(1) & there).sum() / there.sum()) if there.any() else 1.0

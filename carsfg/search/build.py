"""Building the gallery of a folder: embedding its images, choosing an index and measuring it."""

import math
import os
import re
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from carsfg.data.box_table import BoxTable
from carsfg.data.cropped_images import CroppedImages
from carsfg.errors import InputError
from carsfg.files import checksum
from carsfg.hardware import CPU, check_memory, free_memory, largest_fitting
from carsfg.retrieval.faiss_index import nearest, set_effort
from carsfg.retrieval.similarity import prepare, score_chunks
from carsfg.search.box_choice import BoxSource
from carsfg.search.decoding import BATCHES_AHEAD, Decoding, batches
from carsfg.search.embedded import EmbeddedPhotos
from carsfg.search.gallery import Gallery
from carsfg.search.shard_facts import embedding_facts
from carsfg.search.shards import Shards
from carsfg.tasks.base import CarsTask

MAX_EXACT_IMAGES = 100_000  # up to which an exact search takes milliseconds
MEASURED_IMAGES = 500  # images of the gallery that measure the recall of an approximate index
MAX_WIDTH = 32_768  # of embeddings, which need no check below that
EMBEDDING_COPIES = 3  # that are in memory while an index is built
PICTURE_BYTES = 2000  # of a small picture, at least
FEWEST_LISTS = 256  # that any gallery may ask for
MIN_RECALL = 0.97  # recall@10 to reach on those, so that it is above 0.95 on others


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
    keep: Path | None = None,
) -> EmbeddedPhotos:
    """Embed all images of a folder; images that cannot be decoded are left out, and named.

    Images are decoded in threads while the network embeds the batch before, no larger than needed, see
    `carsfg.data.photo`.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        photos: images with their class labels.
        size: side of the square images that the network was trained on, in pixels; see `input_size`.
        bfloat16: use bfloat16 autocast.
        batch_size: images per batch.
        progress: show progress on stderr.
        finder: finds the car in images that have no box in the table; None takes them whole.
        table: boxes of images by path.
        pictures: also make small pictures, `jpegs` of the result, which are empty otherwise.
        keep: folder to keep results in while they are made, so that the next identical call goes on from them, see
            `carsfg.search.shards`; None: nothing is kept.

    Raises:
        InputError: none can be decoded, or a batch or all embeddings would not fit into the memory.
    """
    _check_resources(task, len(photos), size, batch_size, pictures)
    decoding = Decoding(photos, size, finder, table, pictures)
    shards = None if keep is None else Shards(keep, embedding_facts(task, decoding, bfloat16, batch_size))
    parts, start = ([], 0) if shards is None else shards.read(len(photos))
    with nullcontext() if shards is None else shards:
        for batch in batches(decoding, batch_size, progress, start):
            embeddings = torch.empty(0)
            if batch.squares is not None:
                with torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16):
                    embeddings = task.embed({"image": batch.squares.to(task.device)}).float().cpu()
            parts.append(EmbeddedPhotos(embeddings, batch.places, batch.jpegs, batch.complaints, batch.boxes))
            if shards is not None:
                shards.add(parts[-1], batch.stop)
    result = EmbeddedPhotos.join(parts)
    if not result.places:
        raise InputError(f"none of the {len(photos)} images in {photos.folder} can be decoded: {result.complaints[0]}")
    return result


def _check_resources(task: CarsTask, count: int, size: int, batch_size: int, pictures: bool) -> None:
    """Compare the memory of a batch and of all embeddings with what is free, before the first image is decoded."""
    each = 3 * size**2 * (1 + BATCHES_AHEAD + torch.float32.itemsize)
    fitting = largest_fitting(each)
    check_memory(f"batch_size {batch_size}:", each * min(batch_size, count), f"use batch_size {fitting} or less")
    numbers = MAX_WIDTH
    if (free := free_memory(CPU)) is not None and count * numbers * EMBEDDING_COPIES * torch.float32.itemsize > free:
        image = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=task.device)
        numbers = task.embed({"image": image}).shape[1]
        each = EMBEDDING_COPIES * numbers * torch.float32.itemsize + (PICTURE_BYTES if pictures else 0)
        what = f"{count:,} embeddings of {numbers:,} numbers:"
        check_memory(what, each * count, f"name a folder or table of {largest_fitting(each):,} images or fewer")


def check_factory(factory: str, count: int) -> None:
    """Refuse an index with more lists or links than there are embeddings, before it is built.

    Args:
        factory: FAISS's description of the index.
        count: number of embeddings.

    Raises:
        InputError: it asks for more.
    """
    for kind, number in re.findall(r"(IVF|HNSW|NSG)(\d+)", factory):
        if int(number) > max(count, FEWEST_LISTS):
            raise InputError(f"--factory {factory!r}: {kind}{number} is too large for {count:,} images: use Flat")


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

"""Facts that decide the embeddings of a folder: equal facts on one machine mean equal embeddings, to the last bit."""

import hashlib
import os
from collections.abc import Iterable

import PIL
import torch
from torch import nn

from carsfg import __version__
from carsfg.class_paths import class_path
from carsfg.data.image_io import DECODER_VERSION
from carsfg.data.photo import RULE_VERSION
from carsfg.search.decoding import Decoding
from carsfg.tasks.base import CarsTask
from carsfg.tasks.fingerprint import fingerprint


def embedding_facts(task: CarsTask, decoding: Decoding, bfloat16: bool, batch_size: int) -> dict[str, str]:
    """Return everything that decides embeddings and small pictures, as texts by name.

    Images count by path, size in bytes and time of change. The batch size and the number of threads are among the
    facts, since a matrix product may round differently with others.

    Args:
        task: network that embeds the images.
        decoding: images, size of their squares and boxes.
        bfloat16: whether bfloat16 autocast is used.
        batch_size: images per batch.
    """
    photos, table = decoding.photos, decoding.table
    boxes = [] if not photos.crop or photos.boxes is None else photos.boxes.tolist()
    return {
        "network": f"{class_path(type(task))} {fingerprint(task)}",
        "images": _digest(_file_facts(path) for path in photos.paths),
        "image size": str(decoding.size),
        "precision": "bfloat16" if bfloat16 else "float32",
        "batch size": str(batch_size),
        "boxes": _digest([f"{photos.margin} {boxes}", "" if table is None else str(sorted(table.boxes.items()))]),
        "way to find the car": _finder_facts(decoding),
        "small pictures": str(decoding.pictures),
        "decoder": f"{DECODER_VERSION} {RULE_VERSION} Pillow {PIL.__version__}",
        "device": f"{task.device.type} {torch.get_num_threads()} threads",
        "version": f"carsfg {__version__}, torch {torch.__version__}",
    }


def _file_facts(path: str | os.PathLike[str]) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - of up to a million files
    except (OSError, ValueError):
        return f"{path} missing"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _finder_facts(decoding: Decoding) -> str:
    """Return the kind of finder; `BoxFinder` uses the network that embeds, and a detector has weights of its own."""
    if decoding.finder is None:
        return "none"
    network = getattr(decoding.finder, "network", None)
    digest = hashlib.blake2b(digest_size=16)
    for name, value in network.state_dict().items() if isinstance(network, nn.Module) else ():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return f"{class_path(type(decoding.finder))} {digest.hexdigest()}"


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape"))
        digest.update(b"\0")
    return digest.hexdigest()

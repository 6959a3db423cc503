"""The gallery: embeddings in a FAISS index, with labels, image paths, class names, and what made them."""

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.exact_top_k import pad, settle
from carsfg.retrieval.faiss_index import (
    METRICS,
    faiss_said,
    make_index,
    read_index,
    search_index,
    vector_of,
    write_index,
)
from carsfg.retrieval.metrics import Metric, prepare
from carsfg.search import manifest
from carsfg.search.thumbnails import Thumbnails
from carsfg.tasks.checkpoints import save_network

if TYPE_CHECKING:
    from carsfg.tasks.base import CarsTask

INDEX, NETWORK, THUMBNAILS = "index.faiss", "network.ckpt", "thumbnails.bin"


@dataclass
class Gallery:
    """What queries are searched in.

    Attributes:
        index: FAISS's index of N embeddings.
        labels: int64 (N,), 0-based.
        paths: of the N images, as they were given.
        class_names: in label order.
        metric: how embeddings are compared.
        stamp: what made the embeddings, as plain strings and numbers.
        known: ascending scores of known cars with what is nearest to them; see `carsfg.search.calibration`.
        thumbnails: of the N images.
    """

    index: Any
    labels: Tensor
    paths: list[str]
    class_names: list[str]
    metric: Metric
    stamp: dict[str, str | int]
    known: list[float] = field(default_factory=list)
    thumbnails: Thumbnails | None = None

    @classmethod
    def build(
        cls,
        embeddings: Tensor,
        labels: Tensor,
        paths: Sequence[str] = (),
        class_names: Sequence[str] = (),
        metric: Metric = "cosine",
        factory: str = "Flat",
        stamp: Mapping[str, str | int] | None = None,
    ) -> "Gallery":
        """Index embeddings (N, D); those compared by cosine are brought to length 1 first.

        Args:
            embeddings: float (N, D).
            labels: int64 (N,).
            paths: of the images.
            class_names: in label order.
            metric: `cosine` or `euclidean`.
            factory: FAISS's description of the index; `Flat` is exact.
            stamp: what made the embeddings.

        Raises:
            InputError: the numbers of embeddings, labels and paths differ, or are 0; an embedding is not finite; FAISS
                cannot build such an index.
        """
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}: galleries compare by {' or '.join(METRICS)}")
        if len(embeddings) != len(labels) or len(paths) not in (0, len(labels)) or not len(labels):
            counts = f"{len(embeddings)} embeddings, {len(labels)} labels and {len(paths)} paths"
            raise InputError(f"a gallery cannot be built of {counts}")
        vectors = prepare(embeddings, metric)
        if not torch.isfinite(vectors).all():
            raise InputError("an embedding is not finite: the network that made it has diverged")
        index = make_index(vectors, factory, metric)
        return cls(index, labels.cpu().long(), list(paths), list(class_names), metric, dict(stamp or {}))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """D of the embeddings."""
        return int(self.index.d)

    def search(
        self, queries: Tensor, k: int, itself: Tensor | None = None, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Find the k nearest items of each query, by score, ties by gallery index.

        Args:
            queries: float (Q, D).
            k: how many.
            itself: int64 (Q,), each query's place in the gallery, which is left out; None where queries are not in it.
            among: bool (N,), the items to search; all by default. Not together with `itself`.

        Returns:
            Scores, float32 (Q, k): cosine similarity, or the Euclidean distance below zero. Gallery indices, int64
            (Q, k). Where the gallery has no more, -inf and -1.

        Raises:
            InputError: the queries are not as wide as the gallery, or such an index cannot search among some.
        """
        if queries.shape[1] != self.width:
            raise InputError(
                f"queries are {queries.shape[1]} wide, the gallery {self.width}: it was made by another network"
            )
        vectors, most = prepare(queries, self.metric), len(self) if among is None else int(among.sum())
        wanted = min(k + (itself is not None), most)
        if not wanted:
            return pad(torch.empty(len(vectors), 0), torch.empty(len(vectors), 0, dtype=torch.int64), k)

        def fetch(rows: slice | Tensor, count: int) -> tuple[Tensor, Tensor]:
            distances, found = search_index(self.index, vectors[rows], count, among)
            return (distances if self.metric == "cosine" else -distances.clamp(min=0).sqrt()), found

        scores, indices = settle(fetch, wanted, most)
        if itself is not None:
            others = torch.sort((indices == itself[:, None]).byte(), dim=1, stable=True).indices  # itself to the end
            places = others[:, : min(k, most - 1)]
            scores, indices = scores.gather(1, places), indices.gather(1, places)
        return pad(scores, indices, k)

    def vector(self, place: int) -> Tensor | None:
        """Return the embedding of an item, float (D,), as the index keeps it; None where it cannot give it back.

        Args:
            place: of the item, 0..N-1.
        """
        return vector_of(self.index, place)

    def check_network(self, fingerprint: str) -> None:
        """Compare the network that is to embed queries with the one that embedded the gallery.

        Args:
            fingerprint: of the network that is to embed queries.

        Raises:
            InputError: it is another; see `carsfg.tasks.fingerprint`.
        """
        own = self.stamp.get("fingerprint", fingerprint)
        if own != fingerprint:
            raise InputError(
                f"the gallery was made by another network (fingerprint {own}, this one has {fingerprint}): search with "
                "the checkpoint it was made with, or build it anew"
            )

    def save(self, folder: str | Path, network: "CarsTask | None" = None) -> None:
        """Write the gallery to a folder, beside it first; a gallery that is there already is replaced.

        Args:
            folder: where to.
            network: what the images were embedded with; it is written too, so that photos can be searched for.

        Raises:
            InputError: something else is there, or it cannot be written.
        """
        folder = check_target(folder)
        beside, old = (folder.with_name(f".{folder.name}-{uuid.uuid4().hex}") for _ in range(2))
        try:
            beside.mkdir(parents=True)
            self._write(beside, network)
            if folder.exists():
                folder.replace(old)
            beside.replace(folder)
        except (OSError, RuntimeError) as error:
            if old.exists():
                old.replace(folder)
            raise InputError(f"cannot write a gallery to {folder}: {faiss_said(error)}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def _write(self, folder: Path, network: "CarsTask | None") -> None:
        write_index(self.index, folder / INDEX)
        if network is not None:
            save_network(network, folder / NETWORK, self.stamp)
        if self.thumbnails is not None:
            self.thumbnails.save(folder / THUMBNAILS)
        facts = {
            "format": manifest.FORMAT,
            "metric": self.metric,
            "count": len(self),
            "width": self.width,
            "checksum": manifest.checksum(folder / INDEX),
            "stamp": self.stamp,
            "class_names": self.class_names,
            "labels": self.labels.tolist(),
            "paths": self.paths,
            "known": self.known,
            "thumbnails": self.thumbnails and self.thumbnails.offsets,
        }
        (folder / manifest.FILE).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = False) -> "Gallery":
        """Read a gallery; its index may stay on disk, memory-mapped.

        Args:
            folder: where `save` wrote it.
            mmap: leave the index on disk.

        Raises:
            InputError: there is none, it is damaged, or another version of carsfg wrote it.
        """
        folder = Path(folder)
        facts, thumbnails = manifest.read_facts(folder), None
        try:
            if manifest.checksum(folder / INDEX) != facts["checksum"]:
                raise InputError(f"the gallery in {folder} is damaged: {INDEX} is not the one it was saved with")
            index = read_index(folder / INDEX, mmap)
            if facts["thumbnails"] is not None:
                thumbnails = Thumbnails.open(folder / THUMBNAILS, facts["thumbnails"])
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"cannot read the gallery in {folder}: {faiss_said(error)}") from error
        if (index.ntotal, index.d, index.metric_type) != (facts["count"], facts["width"], METRICS[facts["metric"]]):
            raise InputError(f"the gallery in {folder} is damaged: its index and its list of images do not match")
        labels = torch.tensor(facts["labels"], dtype=torch.int64)
        plain = {name: facts[name] for name in ("paths", "class_names", "metric", "stamp", "known")}
        return cls(index=index, labels=labels, thumbnails=thumbnails, **plain)


def check_target(folder: str | Path) -> Path:
    """Return the folder that a gallery is to be written to, through links, and with a name.

    Args:
        folder: where to write; it need not be there.

    Raises:
        InputError: something else is there, which is not to be lost.
    """
    folder = Path(folder).resolve()
    if not folder.exists():
        return folder
    known = {INDEX, manifest.FILE, NETWORK, THUMBNAILS}
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not {INDEX, manifest.FILE} <= names <= known:
        raise InputError(f"{folder} is there already and is no gallery, or more than that: name another folder")
    return folder

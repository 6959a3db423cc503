"""The gallery: embeddings in a FAISS index, with labels, image paths, class names, and what made them."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.metrics import Metric, prepare

FORMAT = 1
INDEX, FACTS = "index.faiss", "gallery.json"
METRICS = {"cosine": faiss.METRIC_INNER_PRODUCT, "euclidean": faiss.METRIC_L2}


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
    """

    index: Any
    labels: Tensor
    paths: list[str]
    class_names: list[str]
    metric: Metric
    stamp: dict[str, str | int]

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
        try:
            index = faiss.index_factory(vectors.shape[1], factory, METRICS[metric])
            index.train(vectors.numpy())
            index.add(vectors.numpy())
        except (RuntimeError, AssertionError) as error:
            said = str(error).strip().splitlines()[-1].rpartition("Error: ")[2]
            raise InputError(
                f"no index {factory!r} of {len(vectors)} x {vectors.shape[1]} embeddings: {said}"
            ) from error
        return cls(index, labels.cpu().long(), list(paths), list(class_names), metric, dict(stamp or {}))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """D of the embeddings."""
        return int(self.index.d)

    def search(self, queries: Tensor, k: int, itself: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the k nearest items of each query, by score, ties by gallery index.

        Args:
            queries: float (Q, D).
            k: how many.
            itself: int64 (Q,), each query's place in the gallery, which is left out; None where queries are not in it.

        Returns:
            Scores, float32 (Q, k): cosine similarity, or the Euclidean distance below zero. Gallery indices, int64
            (Q, k). Where the gallery has no more, -inf and -1.

        Raises:
            InputError: the queries are not as wide as the gallery.
        """
        if queries.shape[1] != self.width:
            raise InputError(
                f"queries are {queries.shape[1]} wide, the gallery {self.width}: it was made by another network"
            )
        vectors = prepare(queries, self.metric)
        wanted = min(k + (itself is not None), len(self))
        scores, indices = _settle(lambda rows, count: self._faiss(vectors[rows], count), wanted, len(self))
        if itself is not None:
            others = torch.sort((indices == itself[:, None]).byte(), dim=1, stable=True).indices  # itself to the end
            places = others[:, : min(k, len(self) - 1)]
            scores, indices = scores.gather(1, places), indices.gather(1, places)
        return _pad(scores, indices, k)

    def _faiss(self, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
        distances, found = (torch.from_numpy(one) for one in self.index.search(vectors.numpy(), k))
        return (distances if self.metric == "cosine" else -distances.clamp(min=0).sqrt()), found

    def check_network(self, fingerprint: str) -> None:
        """Compare the network that is to embed queries with the one that embedded the gallery.

        Raises:
            InputError: it is another; see `carsfg.tasks.fingerprint`.
        """
        own = self.stamp.get("fingerprint", fingerprint)
        if own != fingerprint:
            raise InputError(
                f"the gallery was made by another network (fingerprint {own}, this one has {fingerprint}): search with "
                "the checkpoint it was made with, or build it anew"
            )

    def save(self, folder: str | Path) -> None:
        """Write the gallery to a folder, beside it first; a gallery that is there already is replaced.

        Raises:
            InputError: something else is there, or it cannot be written.
        """
        folder = Path(folder).resolve()  # through links, and with a name
        if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} == {INDEX, FACTS}):
            raise InputError(f"{folder} is there already and is no gallery, or more than that: name another folder")
        beside, old = (folder.with_name(f".{folder.name}-{uuid.uuid4().hex}") for _ in range(2))
        try:
            beside.mkdir(parents=True)
            faiss.write_index(self.index, str(beside / INDEX))
            (beside / FACTS).write_text(json.dumps(self._facts(_checksum(beside / INDEX))), encoding="utf-8")
            if folder.exists():
                folder.replace(old)
            beside.replace(folder)
        except (OSError, RuntimeError) as error:
            if old.exists():
                old.replace(folder)
            raise InputError(f"cannot write a gallery to {folder}: {_faiss_said(error)}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def _facts(self, checksum: str) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "metric": self.metric,
            "count": len(self),
            "width": self.width,
            "checksum": checksum,
            "stamp": self.stamp,
            "class_names": self.class_names,
            "labels": self.labels.tolist(),
            "paths": self.paths,
        }

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = False) -> "Gallery":
        """Read a gallery; its index may stay on disk, memory-mapped.

        Raises:
            InputError: there is none, it is damaged, or another version of carsfg wrote it.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"no gallery in {folder}: `carsfg predict` writes one") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read the gallery in {folder}: {FACTS} is damaged ({error})") from error
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise InputError(f"the gallery in {folder} is not of format {FORMAT}: build it anew")
        if not _are_sound(facts):
            raise InputError(f"the gallery in {folder} is damaged: {FACTS} does not hold together")
        try:
            if _checksum(folder / INDEX) != facts["checksum"]:
                raise InputError(f"the gallery in {folder} is damaged: {INDEX} is not the one it was saved with")
            index = faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_MMAP_IFC if mmap else 0)
        except (OSError, RuntimeError) as error:
            raise InputError(f"cannot read the gallery in {folder}: {_faiss_said(error)}") from error
        if (index.ntotal, index.d, index.metric_type) != (facts["count"], facts["width"], METRICS[facts["metric"]]):
            raise InputError(f"the gallery in {folder} is damaged: its index and its list of images do not match")
        labels = torch.tensor(facts["labels"], dtype=torch.int64)
        return cls(index, labels, facts["paths"], facts["class_names"], facts["metric"], facts["stamp"])


def nearest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k highest of given scores by FAISS's heaps, ties by gallery index; see `metrics.score_chunks`.

    Args:
        scores: float32 (Q, G); what has -inf is not found.
        k: how many.

    Returns:
        Scores, float32 (Q, k), and gallery indices, int64 (Q, k); where there are no more, -inf and -1.
    """

    def fetch(rows: slice | Tensor, count: int) -> tuple[Tensor, Tensor]:
        some = scores[rows].contiguous()
        found, indices = torch.empty(len(some), count), torch.empty(len(some), count, dtype=torch.int64)
        heaps = faiss.float_minheap_array_t()
        heaps.nh, heaps.k = found.shape
        heaps.val, heaps.ids = faiss.swig_ptr(found.numpy()), faiss.swig_ptr(indices.numpy())
        heaps.heapify()
        heaps.addn(some.shape[1], faiss.swig_ptr(some.numpy()))
        heaps.reorder()
        return found, indices

    return _pad(*_settle(fetch, min(k, scores.shape[1]), scores.shape[1]), k)


def _settle(fetch: Callable[[slice | Tensor, int], tuple[Tensor, Tensor]], k: int, most: int) -> tuple[Tensor, Tensor]:
    """Fetch one more than is wanted, and twice as many for the queries with a tie on the last place."""
    fetched = min(k + 1, most)
    scores, indices = _by_score_then_index(*fetch(slice(None), fetched))
    last, beyond = scores[:, k - 1], scores[:, -1]
    while fetched < most and (cut := (last == beyond) & torch.isfinite(last)).any():
        fetched = min(2 * fetched, most)
        again = _by_score_then_index(*fetch(cut, fetched))
        scores[cut, :k], indices[cut, :k] = again[0][:, :k], again[1][:, :k]
        beyond[cut] = again[0][:, -1]
    return scores[:, :k], indices[:, :k]


def _by_score_then_index(scores: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Order what FAISS found, which may give less than was asked for: -1."""
    scores[indices < 0] = -torch.inf
    indices, order = indices.sort(1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return scores, indices.gather(1, order)


def _pad(scores: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Fill up to k places."""
    missing, pad = k - scores.shape[1], torch.nn.functional.pad
    return pad(scores, (0, missing), value=-torch.inf), pad(indices, (0, missing), value=-1)


def _are_sound(facts: dict[str, Any]) -> bool:
    """Whether what a file says is of the right kinds, and fits together."""
    lists = [facts.get(name) for name in ("labels", "paths", "class_names")]
    if not all(isinstance(one, list) for one in lists) or not isinstance(facts.get("stamp"), dict):
        return False
    labels, paths, names = lists
    numbers = all(type(label) is int and 0 <= label < (len(names) or 2**31) for label in labels)  # type: ignore[arg-type, union-attr]
    words = all(isinstance(word, str) for word in [*paths, *names])  # type: ignore[misc]
    inside = not any(".." in word.split("/") for word in paths) if words else False  # type: ignore[union-attr]
    counts = len(labels) == facts.get("count") and len(paths) in (0, len(labels))  # type: ignore[arg-type]
    return numbers and inside and counts and facts.get("metric") in [*METRICS]


def _faiss_said(error: Exception) -> str:
    """Return what is wrong, without the C++ around it."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2].rpartition("failed: ")[2]


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]

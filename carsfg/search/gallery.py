"""The gallery: embeddings in a FAISS index, with labels, image paths, class names, and the run record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.exact_top_k import exact_top_k, pad
from carsfg.retrieval.faiss_index import METRICS, make_index, reconstruct, search_index
from carsfg.retrieval.similarity import Metric, find_fault, find_origin, prepare
from carsfg.run_record import RunRecord
from carsfg.search.attributes import Attributes
from carsfg.search.contents import Contents
from carsfg.search.growing import Growing
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails

if TYPE_CHECKING:
    import pyarrow as pa

    from carsfg.tasks.base import CarsTask


@dataclass(repr=False, eq=False)
class Gallery(Growing):
    """Images to search in, by their embeddings.

    Attributes:
        index: FAISS's index of N embeddings, less the origin.
        labels: int64 (N,), 0-based.
        paths: of the N images, as they were given; empty if they were not.
        class_names: in label order.
        metric: how embeddings are compared.
        record: the run that made the network, with the precision that the images were embedded in.
        fingerprint: of the network, see `carsfg.tasks.fingerprint`; empty if unknown.
        origin: float32 (D,), subtracted from all embeddings; see `find_origin`. None: nothing is subtracted.
        calibration: ascending scores of cars of known classes with their nearest image; see
            `carsfg.search.calibration`.
        thumbnails: of the N images.
        attributes: what is known of the N images besides their classes.
        contents: checksums and boxes of the N images, by which duplicates are found; None: not known.
        roots: folders that the N paths begin at, see `photo`.
        factory: FAISS's description of the index, such as `Flat`.
        trained_on: number of images that index and origin were learned from.
        calibrated_on: images that gave the calibration: `own images`, `other photos`; empty if unknown.
    """

    index: Any
    labels: Tensor
    paths: Sequence[str]
    class_names: list[str]
    metric: Metric
    record: RunRecord = field(default_factory=RunRecord)
    fingerprint: str = ""
    origin: Tensor | None = None
    calibration: list[float] = field(default_factory=list)
    thumbnails: Thumbnails | None = None
    attributes: Attributes = field(default_factory=Attributes)
    contents: Contents | None = None
    roots: Roots = field(default_factory=Roots)
    factory: str = "Flat"
    trained_on: int = 0
    calibrated_on: str = ""

    @classmethod
    def build(
        cls,
        embeddings: Tensor,
        labels: Tensor,
        paths: Sequence[str] = (),
        class_names: Sequence[str] = (),
        metric: Metric = "cosine",
        factory: str = "Flat",
        record: RunRecord | None = None,
        fingerprint: str = "",
    ) -> "Gallery":
        """Index embeddings (N, D); those compared by cosine are brought to length 1 first.

        Args:
            embeddings: float (N, D).
            labels: int64 (N,).
            paths: file names, one per embedding.
            class_names: in label order.
            metric: `cosine` or `euclidean`.
            factory: FAISS's description of the index; `Flat` is exact.
            record: the run that made the network, with the precision that the images were embedded in.
            fingerprint: of the network, see `carsfg.tasks.fingerprint`.

        Raises:
            InputError: the numbers of embeddings, labels and paths differ, or are 0; an embedding is not finite or too
                large; FAISS cannot build such an index, or its scores would not be similarities or distances.
        """
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}: choose {' or '.join(METRICS)}")
        if len(embeddings) != len(labels) or len(paths) not in (0, len(labels)) or not len(labels):
            counts = f"{len(embeddings)} embeddings, {len(labels)} labels and {len(paths)} paths"
            raise InputError(f"a gallery cannot be built of {counts}")
        vectors = prepare(embeddings, metric)
        fault = find_fault(embeddings, vectors)
        if fault:
            raise InputError(f"{fault}: the network that made it has diverged")
        origin = find_origin(vectors) if metric == "euclidean" else None
        index = make_index(vectors if origin is None else vectors - origin, factory, metric)
        made = record or RunRecord()
        gallery = cls(index, labels.cpu().long(), list(paths), list(class_names), metric, made, fingerprint, origin)
        gallery.factory, gallery.trained_on = factory, len(labels)
        return gallery

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        classes = len(self.class_names) or len({*self.labels.tolist()})
        return f"Gallery({len(self):,} images, {classes} classes, {self.width}-D, {self.metric}, {self.factory})"

    @property
    def width(self) -> int:
        """D of the embeddings."""
        return int(self.index.d)

    def search(
        self, queries: Tensor, k: int, itself: Tensor | None = None, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Find the k nearest items of each query, by score, ties by gallery index.

        With 20 queries or more FAISS may round the scores of equal gallery vectors differently, in the last bit.

        Args:
            queries: float (Q, D).
            k: items to find per query.
            itself: int64 (Q,), each query's place in the gallery, which is left out; None where queries are not in it.
            among: bool (N,), the items to search; all by default. Not together with `itself`.

        Returns:
            Scores, float32 (Q, k): cosine similarity, at most 1 also where a coarse index says more, or the negative
            Euclidean distance. Gallery indices, int64 (Q, k). Where the gallery has no more, -inf and -1.

        Raises:
            InputError: the queries are not as wide as the gallery, or too large; this kind of index cannot search some
                of its items only; the index is damaged.
        """
        if queries.shape[1] != self.width:
            raise InputError(
                f"queries are {queries.shape[1]} wide, the gallery {self.width}: it was made by another network"
            )
        vectors, most = self._prepare(queries), len(self) if among is None else int(among.sum())
        wanted = min(k + (itself is not None), most)
        if not wanted:
            return pad(torch.empty(len(vectors), 0), torch.empty(len(vectors), 0, dtype=torch.int64), k)

        def fetch(rows: slice | Tensor, count: int) -> tuple[Tensor, Tensor]:
            distances, found = search_index(self.index, vectors[rows], count, among)
            if int(found.max()) >= len(self):
                raise InputError("the gallery's index is damaged: it gives images that do not exist; index again")
            return (distances if self.metric == "cosine" else -distances.clamp(min=0).sqrt()), found

        scores, indices = exact_top_k(fetch, wanted, most)
        if itself is not None:
            others = torch.sort((indices == itself[:, None]).byte(), dim=1, stable=True).indices  # itself to the end
            places = others[:, : min(k, most - 1)]
            scores, indices = scores.gather(1, places), indices.gather(1, places)
        return pad(scores.clamp(max=1) if self.metric == "cosine" else scores, indices, k)

    def _prepare(self, queries: Tensor) -> Tensor:
        """Return queries as the index compares them, float32 (Q, D)."""
        vectors = prepare(queries, self.metric)
        if bool(torch.isfinite(queries).all()) and (fault := find_fault(queries, vectors)):
            raise InputError(f"{fault}: search with the network that made the gallery")
        return vectors if self.origin is None else vectors - self.origin

    def vector(self, place: int) -> Tensor | None:
        """Return the embedding of an item, float (D,), as the index keeps it; None where it cannot give it back.

        Args:
            place: of the item, 0..N-1.
        """
        vector = reconstruct(self.index, place)
        return vector if vector is None or self.origin is None else vector + self.origin

    def photo(self, place: int) -> Path | None:
        """Return the file of an image, which may have been moved since; None if the gallery does not know it.

        Args:
            place: of the image, 0..N-1.
        """
        root, path = self.roots.at(place), self.paths[place] if len(self.paths) else ""
        return root / path if root is not None and path else None

    def to_arrow(self) -> "pa.Table":
        """Return paths, classes, attributes and embeddings as an Arrow table, see `carsfg.search.arrow`.

        Raises:
            InputError: pyarrow is missing, the index cannot give its vectors back, or a text is not UTF-8.
        """
        from carsfg.search.arrow import EmbeddedTable

        return EmbeddedTable.of(self).to_arrow()

    def check_network(self, fingerprint: str) -> None:
        """Compare the network that is to embed queries with the one that embedded the gallery.

        Args:
            fingerprint: of the network that is to embed queries.

        Raises:
            InputError: they differ; see `carsfg.tasks.fingerprint`.
        """
        own = self.fingerprint or fingerprint
        if own != fingerprint:
            raise InputError(
                f"the gallery was made by another network (fingerprint {own}, this one has {fingerprint}): search with "
                "the checkpoint it was made with, or index again"
            )

    def save(self, folder: str | Path, network: "CarsTask | None" = None) -> None:
        """Write the gallery to a folder, beside it first; a gallery that exists there is replaced.

        Args:
            folder: to create or replace; an empty one is filled.
            network: that embedded the images; it is written too, so that photos can be searched for.

        Raises:
            InputError: the folder holds something else, or it cannot be written.
        """
        from carsfg.search.storage import write_gallery

        write_gallery(self, folder, network)

    @classmethod
    def load(cls, folder: str | Path, mmap: bool = False, verify: bool = False) -> "Gallery":
        """Read a gallery.

        Args:
            folder: that `save` wrote.
            mmap: leave index and arrays on disk, memory-mapped: a large gallery opens at once.
            verify: read all files first, and compare their checksums.

        Raises:
            InputError: the folder holds no gallery, it is damaged, or another version of carsfg wrote it.
        """
        from carsfg.search.storage import read_gallery

        return read_gallery(folder, mmap, verify)

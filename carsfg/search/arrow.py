"""Embeddings with their paths, classes and attributes as an Arrow table, for vector databases and data frames."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carsfg.errors import InputError
from carsfg.files import replacing
from carsfg.retrieval.faiss_index import is_exact, reconstruct_all
from carsfg.retrieval.similarity import Metric, find_fault, prepare
from carsfg.search.attributes import Attributes
from carsfg.search.packed import path_in
from carsfg.search.predictions import write_table
from carsfg.tasks.fingerprint import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from carsfg.data.cropped_images import CroppedImages
    from carsfg.run_record import RunRecord
    from carsfg.search.embedded import EmbeddedPhotos
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.base import CarsTask

PATH, LABEL, EMBEDDING = "path", "label", "embedding"  # columns that every table has
METADATA_KEY = b"carsfg"  # of the schema: JSON of what made the embeddings
SUFFIXES = (".parquet", ".npy")


@dataclass(frozen=True, eq=False)
class EmbeddedTable:
    """Embeddings of N images, and what is known of these images.

    Attributes:
        embeddings: float32 (N, D).
        paths: file of each image; None where it is not known.
        labels: class name of each image.
        attributes: further columns of texts; an empty text where nothing is known.
        facts: what made the embeddings, as plain values for JSON.
    """

    embeddings: "Tensor"
    paths: Sequence[str | None]
    labels: Sequence[str]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, gallery: "Gallery") -> "EmbeddedTable":
        """Take the embeddings out of a gallery's index.

        Those compared by cosine have length 1. An exact index, and an approximate one that keeps the vectors as they
        are (`IVF...,Flat`, `HNSW...`), gives them back unchanged, but for the rounding of `origin`, which is added.
        For compressed ones (PQ, SQ) they are approximate, and `facts["exact"]` is false.

        Args:
            gallery: as `Gallery.load` gives it.

        Raises:
            InputError: the index cannot give its vectors back.
        """
        found = reconstruct_all(gallery.index)
        if found is None:
            kind = type(gallery.index).__name__
            raise InputError(
                f"the gallery's index ({kind}) cannot give its embeddings back: embed the photos again with the "
                "checkpoint, or index them with Flat, IVF or HNSW"
            )
        names, labels = gallery.class_names, gallery.labels.tolist()
        return cls(
            found if gallery.origin is None else found + gallery.origin,
            list(gallery.paths) if len(gallery.paths) else [None] * len(gallery),
            [names[label] if names else str(label) for label in labels],
            columns(gallery.attributes),
            {
                "metric": gallery.metric,
                "exact": is_exact(gallery.index),
                "fingerprint": gallery.fingerprint,
                "record": gallery.record.to_dict(),
            },
        )

    @classmethod
    def of_photos(
        cls, photos: "CroppedImages", embedded: "EmbeddedPhotos", metric: Metric, record: "RunRecord", task: "CarsTask"
    ) -> "EmbeddedTable":
        """Take embeddings as a gallery of the same images would hold them.

        Args:
            photos: images that were embedded, with their classes and attributes.
            embedded: what `embed_photos` made of them.
            metric: `cosine` brings the embeddings to length 1.
            record: of the run, with the settings of the embedding.
            task: network that embedded them.

        Raises:
            InputError: an embedding is not finite.
        """
        vectors = prepare(embedded.embeddings, metric)
        if fault := find_fault(embedded.embeddings, vectors):
            raise InputError(f"{fault}: the network that made it has diverged")
        taken = photos.source.take(np.array(embedded.places))
        return cls(
            vectors,
            [path_in(photos.folder, path) for path in taken.paths],
            [photos.class_names[label] for label in taken.labels.tolist()],
            taken.attributes,
            {"metric": metric, "exact": True, "fingerprint": fingerprint(task), "record": record.to_dict()},
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def named_attributes(self) -> dict[str, Sequence[str]]:
        """The attributes by the names of their columns: `attribute_NAME` where NAME is a column of its own already."""
        named: dict[str, Sequence[str]] = {}
        for own, texts in self.attributes.items():
            name = own
            while name in (PATH, LABEL, EMBEDDING) or (name != own and name in self.attributes):
                name = f"attribute_{name}"
            named[name] = texts
        return named

    def to_arrow(self) -> "pa.Table":
        """Return the table: `path`, `label`, the attributes, all texts, and `embedding`, D float32 values in a row.

        An attribute is null where it is not known, and so is a path. The schema's metadata holds `facts` as JSON.

        Raises:
            InputError: pyarrow is missing, or a text is not UTF-8.
        """
        arrow = import_pyarrow()
        texts: dict[str, Sequence[str | None]] = {PATH: self.paths, LABEL: self.labels}
        texts |= {name: [one or None for one in column] for name, column in self.named_attributes.items()}
        parts = {name: _strings(arrow, name, column) for name, column in texts.items()}
        flat = arrow.array(np.ascontiguousarray(self.embeddings.numpy(), np.float32).reshape(-1))
        parts[EMBEDDING] = arrow.FixedSizeListArray.from_arrays(flat, self.embeddings.shape[1])
        table: pa.Table = arrow.table(parts)
        return table.replace_schema_metadata({METADATA_KEY: json.dumps(dict(self.facts))})

    def write(self, file: str | Path) -> None:
        """Write the table, beside its place first: a Parquet file, or `NAME.npy` with the other columns in `NAME.csv`.

        Args:
            file: that ends in .parquet or .npy, see `check_suffix`.

        Raises:
            InputError: pyarrow is missing, a text is not UTF-8 (only in Parquet), or the file cannot be written.
        """
        path = check_suffix(file)
        table = self.to_arrow() if path.suffix == ".parquet" else None
        try:
            with replacing(path) as beside:
                if table is None:
                    np.save(beside, self.embeddings.numpy(), allow_pickle=False)
                    write_table(path.with_suffix(".csv"), self._listed())  # the last step: both are renamed, or neither
                else:
                    from pyarrow import parquet

                    parquet.write_table(table, beside)
        except OSError as error:
            raise InputError(f"cannot write {str(file)!r}: {error.strerror or error}") from error

    def _listed(self) -> dict[str, Sequence[Any]]:
        paths = ["" if path is None else path for path in self.paths]
        return {PATH: paths, LABEL: self.labels, **self.named_attributes}


def check_suffix(file: str | Path) -> Path:
    """Return the path of a file of embeddings.

    Args:
        file: name of a Parquet file or of a NumPy array, to write.

    Raises:
        InputError: it ends neither in .parquet nor in .npy.
    """
    path = Path(file)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{str(file)!r} is neither a .parquet nor a .npy file: use a name that ends so")
    return path


def files_of(path: Path) -> list[Path]:
    """Return the files that are written for the name of one of them.

    Args:
        path: with a suffix that `check_suffix` accepts.
    """
    return [path] if path.suffix == ".parquet" else [path, path.with_suffix(".csv")]


def columns(attributes: Attributes) -> dict[str, list[str]]:
    """Return attributes as columns of one text per image, empty where nothing is known.

    Args:
        attributes: of a gallery's images.
    """
    rows = zip(attributes.values.items(), attributes.codes.tolist(), strict=True)
    return {name: [texts[code] for code in codes] for (name, texts), codes in rows}


def import_pyarrow() -> Any:
    """Import pyarrow.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            "Arrow tables and Parquet files need pyarrow: python -m pip install pyarrow, or write a .npy file"
        ) from None
    return pyarrow


def _strings(arrow: Any, name: str, texts: Sequence[str | None]) -> Any:
    try:
        return arrow.array(texts, arrow.string())
    except UnicodeEncodeError as error:
        bad = next(text for text in texts if text is not None and not _is_utf8(text))
        raise InputError(
            f"the {name} {bad!r} is not UTF-8, which Parquet and Arrow need: rename it, or write a .npy file"
        ) from error


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

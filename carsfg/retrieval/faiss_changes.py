"""FAISS indexes that grow and shrink: each function returns a new index and leaves the given one as it is."""

from typing import Any

import faiss
import numpy as np
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.faiss_index import faiss_message, is_exact, reconstruct_all
from carsfg.retrieval.index_file import copy_index


def with_vectors(index: Any, vectors: Tensor) -> Any:
    """Return an index with further vectors at its end; what it has learned stays as it is.

    Args:
        index: as `make_index` makes it, with N vectors.
        vectors: float32 (M, D), prepared as those of the index.

    Raises:
        InputError: this kind of index takes no further vectors.
    """
    made = _copy(index)
    try:
        made.add(vectors.numpy())
    except RuntimeError as error:
        raise InputError(f"the gallery's index takes no further images: {faiss_message(error)}; index again") from error
    return made


def without_vectors(index: Any, kept: Tensor) -> Any:
    """Return an index of some of the vectors, whose positions are 0..M-1 again; what it has learned stays as it is.

    Args:
        index: as `make_index` makes it, with N vectors.
        kept: bool (N,), the M vectors that stay, in their order.

    Raises:
        InputError: it is an inverted file or a graph of compressed vectors, which cannot be numbered anew.
    """
    made = _copy(index)
    if is_exact(index) and (vectors := reconstruct_all(index)) is not None:
        made.reset()
        made.add(vectors[kept].numpy())
        return made
    if isinstance(faiss.downcast_index(index), faiss.IndexFlatCodes):  # which closes the gaps itself
        made.remove_ids(np.flatnonzero(~kept.numpy()))
        return made
    kind = type(index).__name__
    raise InputError(
        f"images cannot be removed from this kind of index ({kind}): use Flat, IVF or HNSW, or index again"
    )


def _copy(index: Any) -> Any:
    """Copy an index into memory, where its vectors can be asked for by their positions."""
    made = copy_index(index)
    lists = faiss.try_extract_index_ivf(made)
    if lists is not None and not isinstance(made, faiss.IndexRefine):
        lists.make_direct_map()
    return made

"""FAISS: building, searching, reading and writing indexes. The only file that imports it."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.exact_top_k import pad, settle

METRICS = {"cosine": faiss.METRIC_INNER_PRODUCT, "euclidean": faiss.METRIC_L2}
TRAINED = 100_000  # embeddings that an approximate index learns its cells from


def make_index(vectors: Tensor, factory: str, metric: str) -> Any:
    """Index vectors, float32 (N, D).

    Args:
        vectors: of length 1 if they are compared by cosine.
        factory: FAISS's description of the index.
        metric: `cosine` or `euclidean`.

    Raises:
        InputError: FAISS cannot build such an index.
    """
    try:
        index = faiss.index_factory(vectors.shape[1], factory, METRICS[metric])
        sample = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:TRAINED]
        index.train(vectors[sample.sort().values].numpy())
        index.add(vectors.numpy())
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # so that it can give vectors back
    except (RuntimeError, AssertionError) as error:
        said = str(error).strip().splitlines()[-1].rpartition("Error: ")[2]
        raise InputError(f"no index {factory!r} of {len(vectors)} x {vectors.shape[1]} embeddings: {said}") from error
    return index


def search_index(index: Any, vectors: Tensor, k: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return similarities or squared distances, float32 (Q, k), and places, int64 (Q, k), -1 where there are no more.

    Args:
        index: as `make_index` makes it.
        vectors: float32 (Q, D).
        k: how many.
        among: bool (N,), the items to search; an approximate index looks as far as it otherwise does.

    Raises:
        InputError: such an index cannot search among some.
    """
    # pytorch-metric-learning imports faiss.contrib.torch_utils, whose own `search` knows no `params`
    search = getattr(index, "search_numpy", index.search)
    try:
        distances, found = search(vectors.numpy(), k, params=None if among is None else _parameters(index, among))
    except RuntimeError as error:
        raise InputError(f"this gallery's index cannot search like that: {faiss_said(error)}") from error
    return torch.from_numpy(distances), torch.from_numpy(found)


def _parameters(index: Any, among: Tensor) -> Any:
    kinds: Any = faiss  # whose stubs know no keywords
    some = kinds.IDSelectorBatch(among.nonzero().flatten().numpy())
    if isinstance(index, faiss.IndexIVF):
        return kinds.SearchParametersIVF(sel=some, nprobe=index.nprobe)
    if isinstance(index, faiss.IndexHNSW):
        return kinds.SearchParametersHNSW(sel=some, efSearch=index.hnsw.efSearch)
    return kinds.SearchParameters(sel=some)


def vector_of(index: Any, place: int) -> Tensor | None:
    """Return a vector, float32 (D,), as the index keeps it; None where it cannot give it back.

    Args:
        index: as `make_index` makes it.
        place: of the vector, 0..N-1.
    """
    try:
        return torch.from_numpy(index.reconstruct(place, np.empty(index.d, np.float32)))
    except RuntimeError:
        return None


def look_at(index: Any, effort: int) -> None:
    """Set how much of an approximate index is looked at: `nprobe` lists, or `efSearch` nodes of a graph.

    Args:
        index: as `make_index` makes it; it is changed.
        effort: how many lists or nodes.

    Raises:
        InputError: the index has no such thing: it is exact, or of a kind that carsfg does not know.
    """
    for name in ("nprobe", "efSearch"):
        try:
            faiss.ParameterSpace().set_index_parameter(index, name, effort)
            return
        except RuntimeError:
            continue
    raise InputError("how far to look can be set for IVF and HNSW indexes alone")


def write_index(index: Any, path: Path) -> None:
    """Write an index; raises what `faiss_said` can explain.

    Args:
        index: as `make_index` makes it.
        path: the file to write.
    """
    faiss.write_index(index, str(path))


def read_index(path: Path, mmap: bool) -> Any:
    """Read an index, or map it from its file; raises what `faiss_said` can explain.

    Args:
        path: the file that `write_index` wrote.
        mmap: leave the index on disk.
    """
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mmap else 0)


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

    return pad(*settle(fetch, min(k, scores.shape[1]), scores.shape[1]), k)


def faiss_said(error: Exception) -> str:
    """Return what is wrong, without the C++ around it.

    Args:
        error: what FAISS raised.
    """
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2].rpartition("failed: ")[2]

"""FAISS: building and searching indexes. Only this file, `faiss_changes.py` and `faiss_files.py` import it."""

import math
import re
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval.exact_top_k import exact_top_k, pad

METRICS = {"cosine": faiss.METRIC_INNER_PRODUCT, "euclidean": faiss.METRIC_L2}
MAX_EXACT_ITEMS = 100_000  # of a filtered search, up to which all of them are compared
TRAINING_VECTORS = 100_000  # that an approximate index learns its lists and codes from, at most
CHECKED_VECTORS = 32  # that a new index is tried with
NORM_TOLERANCE = 1e-3  # by which the transforms of an index may change the length of unit vectors
MAX_COSINE = 1.5  # of a new index; coarse codes give cosines of up to 1.3


def make_index(vectors: Tensor, factory: str, metric: str) -> Any:
    """Index vectors, float32 (N, D).

    Args:
        vectors: of length 1 if they are compared by cosine.
        factory: FAISS's description of the index, such as `Flat`.
        metric: `cosine` or `euclidean`.

    Raises:
        InputError: FAISS cannot build such an index, or its scores are not similarities or distances.
    """
    try:
        if not factory.strip():
            raise RuntimeError("it is empty, write Flat for an exact index")
        index = faiss.index_factory(vectors.shape[1], factory, METRICS[metric])
        sample = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:TRAINING_VECTORS]
        index.train(vectors[sample.sort().values].numpy())
        _check_kind(index, factory, metric, vectors)
        index.add(vectors.numpy())
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None:
            lists.make_direct_map()  # so that it can give vectors back
        _check_scores(index, metric, vectors)
    except (RuntimeError, AssertionError) as error:
        size = f"{len(vectors)} x {vectors.shape[1]} embeddings"
        raise InputError(f"cannot build the index {factory!r} of {size}: {faiss_message(error)}") from error
    return index


def _check_kind(index: Any, factory: str, metric: str, vectors: Tensor) -> None:
    """Refuse a trained index whose scores would mean something else than the metric says.

    Raises:
        RuntimeError: its scores count bits, belong to the other metric, or are not cosines of the embeddings.
    """
    inner, transforms = index, []
    if isinstance(index, faiss.IndexPreTransform):
        inner = faiss.downcast_index(index.index)
        chain: Any = index.chain  # a vector of C++, which its stubs call a list
        transforms = [faiss.downcast_VectorTransform(chain.at(position)) for position in range(chain.size())]
    if isinstance(inner, faiss.IndexLSH):
        raise RuntimeError("LSH counts the bits that differ, which is not a distance; choose Flat, IVF, HNSW, SQ or PQ")
    if index.metric_type != METRICS[metric] or inner.metric_type != METRICS[metric]:
        raise RuntimeError(f"it cannot compare by {metric}; choose Flat, IVF, HNSW, SQ or PQ")
    changed = some = vectors[:CHECKED_VECTORS].numpy()
    for transform in transforms:
        changed = transform.apply(np.ascontiguousarray(changed))
    if metric == "cosine" and np.abs(np.linalg.norm(changed, axis=1) - np.linalg.norm(some, axis=1)).max() > (
        NORM_TOLERANCE
    ):
        parts = factory.split(",")
        better = ",".join([*parts[: len(transforms)], "L2norm", *parts[len(transforms) :]])
        raise RuntimeError(f"its transform changes the length of vectors, so that scores are not cosines; use {better}")


def _check_scores(index: Any, metric: str, vectors: Tensor) -> None:
    """Refuse an index that has not learned its codes, as some kinds do from too few vectors.

    Raises:
        RuntimeError: its scores are far beyond those that are possible.
    """
    some = vectors[:CHECKED_VECTORS]
    scores, positions = search_index(index, some, 1)
    most = MAX_COSINE if metric == "cosine" else 16 * float(vectors.square().sum(1).max()) + 1e-30
    if not (scores[positions >= 0].abs() <= most).all():
        raise RuntimeError(
            f"its scores reach {float(scores[positions >= 0].abs().max()):.0e}; it needs more embeddings"
        )


def search_index(index: Any, vectors: Tensor, k: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return similarities or squared distances, float32 (Q, k), and positions, int64 (Q, k), -1 where fewer exist.

    Args:
        index: as `make_index` makes it.
        vectors: float32 (Q, D).
        k: items to find per query.
        among: bool (N,), the items to search; an approximate index looks further then, see `_selective`.

    Raises:
        InputError: this kind of index cannot search some of its items only.
    """
    searched, parameters = (index, None) if among is None else _selective(index, among)
    # pytorch-metric-learning imports faiss.contrib.torch_utils, whose own `search` knows no `params`
    search = getattr(searched, "search_numpy", searched.search)
    try:
        distances, found = search(vectors.numpy(), k, params=parameters)
    except RuntimeError as error:
        if among is None:
            raise InputError(f"the gallery's index cannot be searched: {faiss_message(error)}") from error
        kind = type(index).__name__
        raise InputError(
            f"the gallery's index ({kind}) cannot search some of its images only: index them with Flat, IVF or HNSW"
        ) from error
    return torch.from_numpy(distances), torch.from_numpy(found)


def _selective(index: Any, among: Tensor, inside: bool = False) -> tuple[Any, Any]:
    """Return what to search for some of the items, and with which parameters.

    A value that few images have is spread over many lists, or lies in none that is near the query: with its usual
    effort an approximate index finds a small part of the nearest ones. So all lists are searched for up to 100,000
    items, of which the others cost no distance; for more items the effort grows with the share that is left out.
    """
    kinds: Any = faiss  # whose stubs know no keywords
    some, count = kinds.IDSelectorBitmap(np.packbits(among.numpy(), bitorder="little")), int(among.sum())
    more = math.ceil(len(among) / max(1, count))
    if isinstance(index, faiss.IndexPreTransform):
        parameters = _selective(faiss.downcast_index(index.index), among, inside=True)[1]
        return index, kinds.SearchParametersPreTransform(index_params=parameters)
    if isinstance(index, faiss.IndexIVF):
        lists = index.nlist if count <= MAX_EXACT_ITEMS else min(index.nlist, more * index.nprobe)
        return index, kinds.SearchParametersIVF(sel=some, nprobe=lists)
    if isinstance(index, faiss.IndexHNSW):
        vectors = faiss.downcast_index(index.storage)
        if (
            not inside
            and count <= MAX_EXACT_ITEMS
            and isinstance(vectors, faiss.IndexFlat | faiss.IndexScalarQuantizer)
        ):
            return vectors, kinds.SearchParameters(sel=some)
        return index, kinds.SearchParametersHNSW(sel=some, efSearch=more * index.hnsw.efSearch)
    return index, kinds.SearchParameters(sel=some)


def reconstruct(index: Any, position: int) -> Tensor | None:
    """Return a vector, float32 (D,), as the index keeps it; None where it cannot give it back.

    Args:
        index: as `make_index` makes it.
        position: of the vector, 0..N-1.
    """
    if not _gives_back(index):
        return None
    try:
        return torch.from_numpy(index.reconstruct(position, np.empty(index.d, np.float32)))
    except RuntimeError:
        return None


def reconstruct_all(index: Any) -> Tensor | None:
    """Return all vectors, float32 (N, D), as the index keeps them; None where it cannot give them back.

    Args:
        index: as `make_index` makes it.
    """
    if not _gives_back(index):
        return None
    try:
        return torch.from_numpy(index.reconstruct_n(0, index.ntotal, np.empty((index.ntotal, index.d), np.float32)))
    except RuntimeError:
        return None


def is_exact(index: Any) -> bool:
    """Return whether an index keeps its vectors as they are, also if it searches only some of them.

    Args:
        index: as `make_index` makes it.
    """
    inner = index.refine_index if isinstance(index, faiss.IndexRefine) else getattr(index, "storage", None) or index
    return isinstance(faiss.downcast_index(inner), faiss.IndexFlat | faiss.IndexIVFFlat)


def _gives_back(index: Any) -> bool:
    """Return whether it is safe to ask for vectors: FAISS 1.11 to 1.15 read beyond the blocks of some, and crash."""
    lists = None if isinstance(index, faiss.IndexRefine) else faiss.try_extract_index_ivf(index)
    return not isinstance(faiss.downcast_index(lists) if lists else None, faiss.IndexIVFFastScan)


def set_effort(index: Any, effort: int) -> None:
    """Set how much of an approximate index is searched: `nprobe` lists, or `efSearch` nodes of a graph.

    Args:
        index: as `make_index` makes it; it is changed.
        effort: lists or nodes.

    Raises:
        InputError: the index has no such setting: it is exact, or of a kind that carsfg does not know.
    """
    for name in ("nprobe", "efSearch"):
        try:
            faiss.ParameterSpace().set_index_parameter(index, name, effort)
            return
        except RuntimeError:
            continue
    raise InputError("the effort of a search can be set for IVF and HNSW indexes only")


def nearest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k highest of given scores by FAISS's heaps, ties by gallery index; see `similarity.score_chunks`.

    Args:
        scores: float32 (Q, G); an item with the score -inf is not found.
        k: items to find per query.

    Returns:
        Scores, float32 (Q, k), and gallery indices, int64 (Q, k); where there are no more, -inf and -1.
    """

    def fetch(rows: slice | Tensor, count: int) -> tuple[Tensor, Tensor]:
        some = scores[rows].contiguous()
        found, indices = torch.empty(len(some), count), torch.empty(len(some), count, dtype=torch.int64)
        # heaps and pointers as in FAISS's own ResultHeap, which would need a copy of all G indices for each query
        heaps = faiss.float_minheap_array_t()
        heaps.nh, heaps.k = found.shape
        heaps.val, heaps.ids = faiss.swig_ptr(found.numpy()), faiss.swig_ptr(indices.numpy())
        heaps.heapify()
        heaps.addn(some.shape[1], faiss.swig_ptr(some.numpy()))
        heaps.reorder()
        return found, indices

    return pad(*exact_top_k(fetch, min(k, scores.shape[1]), scores.shape[1]), k)


def faiss_message(error: Exception) -> str:
    """Return the message of an error without the C++ signature and the place in the source around it.

    Args:
        error: raised by FAISS, or any other.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"^.*\.(?:cpp|h|cu):\d+: ", "", lines[-1])
    condition = re.match(r"Error: '(.*)' failed:? ?(.*)$", text)
    if condition is None:
        return text.removeprefix("Error: ")
    if "METRIC_L2" in condition[1] and not condition[2]:
        return "it compares by Euclidean distance only; choose Flat, IVF, HNSW, SQ or PQ"
    return condition[2] or f"FAISS needs {condition[1]}"

"""How near embeddings lie to each other: preparing them, and the scores of queries with a whole gallery."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

Metric = Literal["cosine", "euclidean"]
CHUNK_BYTES = 256 * 2**20  # of scores, sorted scores and keys that are held at a time
MIN_NORM = 1e-12  # shorter vectors are scaled up before they are brought to length 1, and so are too long ones
MAX_SQUARED_NORM = torch.finfo(torch.float32).max / 16  # so that squared distances stay below float32's largest number
HASH_ROWS = 1024  # vectors hashed at a time


def prepare(embeddings: Tensor, metric: Metric) -> Tensor:
    """Return float32 embeddings on the CPU, of length 1 if they are compared by cosine; zeros stay zeros.

    Args:
        embeddings: (N, D), of any floating-point type, on any device.
        metric: `cosine` or `euclidean`.
    """
    given = embeddings.detach().cpu()
    vectors = given.float()
    if metric == "euclidean":
        return vectors
    norms = vectors.norm(dim=1)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    odd = ~((norms >= MIN_NORM) & torch.isfinite(norms))  # the squares overflow or vanish in float32
    if odd.any():
        some = given[odd].double()
        some /= some.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        unit[odd] = torch.nn.functional.normalize(some, dim=1).float()
    return unit


def find_fault(embeddings: Tensor, prepared: Tensor) -> str | None:
    """Return why embeddings cannot be compared; None if they can.

    Args:
        embeddings: (N, D), as the network made them.
        prepared: what `prepare` made of them.
    """
    if not torch.isfinite(embeddings).all():
        return "an embedding is not finite"
    if not (prepared.square().sum(1) <= MAX_SQUARED_NORM).all():
        return f"an embedding is too large for distances in float32 (largest value {float(embeddings.abs().max()):.0e})"
    return None


def count_zeros(prepared: Tensor) -> int:
    """Count vectors without a direction, whose cosine with any vector is 0.

    Args:
        prepared: (N, D), what `prepare` made of embeddings.
    """
    return int((~prepared.any(1)).sum())


def find_origin(gallery: Tensor) -> Tensor | None:
    """Return a point near the mean of a gallery, float32 (D,), to subtract before Euclidean distances are computed.

    Distances stay the same, but float32 loses fewer digits of them where the mean is far from 0. The coordinates are
    multiples of a power of two that is at most the root mean square deviation, so that differences of whole numbers
    stay exact, and exact ties remain ties. None: all coordinates are 0, as with embeddings around 0.

    Args:
        gallery: float32 (G, D), as `prepare` gives it.
    """
    variance, mean = torch.var_mean(gallery, 0, correction=0)
    spread = float(variance.double().mean().sqrt())
    if not 0 < spread < float("inf"):
        return None
    step = 2.0 ** float(torch.tensor(spread, dtype=torch.float64).log2().floor())
    origin = ((mean.double() / step).round() * step).float()
    return origin if origin.any() else None


def score_chunks(
    queries: Tensor, gallery: Tensor, itself: Tensor | None = None, metric: Metric = "cosine"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows of the queries, int64 (B,), and their scores with all of the gallery, float32 (B, G).

    A score is the cosine similarity, or q.g - |g|^2 / 2, both from the origin of `find_origin`, which is highest where
    the Euclidean distance is least. Equal gallery vectors have equal scores. The score of a query with itself is -inf:
    it is not in the ranking. Scores, and what `average_precision_of_scores` makes of them, take at most 256 MiB, or
    24 G bytes if that is more, beside the inputs.

    Args:
        queries: float32 (Q, D), as `prepare` gives them.
        gallery: float32 (G, D), as `prepare` gives it.
        itself: int64 (Q,), each query's position in the gallery; None where queries are not in it.
        metric: `cosine` or `euclidean`.
    """
    origin = find_origin(gallery) if metric == "euclidean" else None
    gallery = gallery if origin is None else gallery - origin
    offset = gallery.square().sum(1) / 2 if metric == "euclidean" else None
    copies, originals = find_copies(gallery)
    step = max(1, CHUNK_BYTES // (24 * len(gallery)))
    for rows in torch.split(torch.arange(len(queries)), step):
        scores = (queries[rows] if origin is None else queries[rows] - origin) @ gallery.T
        if offset is not None:
            scores -= offset
        if len(copies):  # a product may round equal columns differently
            scores[:, copies] = scores[:, originals]
        yield rows, scores if itself is None else scores.scatter_(1, itself[rows, None], -torch.inf)


def find_copies(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Find vectors that are equal to an earlier one.

    Args:
        vectors: float32 (N, D).

    Returns:
        Positions of the copies, int64 (M,), and the first position of each one's value, int64 (M,).
    """
    if vectors.shape[1] == 0:
        return torch.empty(2, 0, dtype=torch.int64).unbind()  # type: ignore[return-value]
    factors = torch.randint(-(2**62), 2**62, (vectors.shape[1],), generator=torch.Generator().manual_seed(0)) * 2 + 1
    # + 0.0 turns -0.0 into 0.0
    parts = ((part + 0.0).view(torch.int32).long() @ factors for part in torch.split(vectors, HASH_ROWS))
    hashes = torch.cat(list(parts))
    order = hashes.argsort(stable=True)
    begins = torch.ones(len(order), dtype=torch.bool)
    begins[1:] = hashes[order].diff() != 0
    first = order[begins][begins.cumsum(0) - 1]
    copies, originals = order[~begins], first[~begins]
    same = (vectors[copies] == vectors[originals]).all(1)
    return copies[same], originals[same]

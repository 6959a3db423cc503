"""Mirrored queries: one embedding for a photo and its mirror image."""

from torch import Tensor

from carsfg.retrieval.similarity import Metric, prepare


def mirrored_mean(embeddings: Tensor, mirrored: Tensor, metric: Metric) -> Tensor:
    """Return the mean of the embeddings of photos and of their mirror images, float32 (Q, D).

    With e and m the embeddings of a photo and of its mirror image, the query is (e / |e| + m / |m|) / 2 by `cosine`,
    so that both count alike, and (e + m) / 2 by `euclidean`. The search brings it to length 1 again by `cosine`: its
    score with a gallery image g is then the mean of the two cosines, times a factor that is the same for all g.

    Args:
        embeddings: float (Q, D), of the photos.
        mirrored: float (Q, D), of the photos mirrored left to right.
        metric: `cosine` or `euclidean`.
    """
    return (prepare(embeddings, metric) + prepare(mirrored, metric)) / 2

"""Retrieval at Stanford Cars' size, against the bare matrix product, torchmetrics and scikit-learn."""

from statistics import median
from typing import Any

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torchmetrics.retrieval import RetrievalMAP

from carsfg.retrieval import metrics
from carsfg.retrieval.ranking import EmbeddedImages, search
from carsfg.retrieval.similarity import prepare
from carsfg.search.gallery import Gallery
from tests.benchmarks.conftest import Pair, seconds

pytestmark = pytest.mark.measure
QUERIES, GALLERY, WIDTH, CLASSES = 8041, 8144, 2048, 196


@pytest.fixture(scope="module")
def sets() -> tuple[EmbeddedImages, EmbeddedImages]:
    """Embeddings around the centres of their classes, so loosely that neighbours are often wrong."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=draw)

    def around(count: int) -> EmbeddedImages:
        labels = torch.randint(0, CLASSES, (count,), generator=draw)
        points = centres[labels] + 6 * torch.randn(count, WIDTH, generator=draw)
        return EmbeddedImages(points, labels, torch.arange(count))

    return around(QUERIES), around(GALLERY)


def test_all_figures_beside_the_product_of_the_embeddings(
    sets: tuple[EmbeddedImages, EmbeddedImages], benchmark: Any
) -> None:
    queries, gallery = sets

    def product() -> None:
        for part in torch.split(queries.embeddings, 512):  # all at once would be a quarter of a gigabyte
            part @ gallery.embeddings.T

    def figures() -> None:
        search(queries, gallery, [1, 5, 10], [3, 10], "cosine")

    figures()
    ratio = median(seconds(figures) / seconds(product) for _ in range(5))
    work = f"all retrieval figures, {QUERIES:,} x {GALLERY:,} x {WIDTH:,}"
    info = {"work": work, "rival": "torch's product of the embeddings alone", "mark": "at most 2x its time"}
    benchmark.extra_info.update(info, ratio=ratio, threads=torch.get_num_threads())
    benchmark.pedantic(lambda: None)


def test_map(sets: tuple[EmbeddedImages, EmbeddedImages], pair: Pair) -> None:
    """Of given scores, all above 0, for torchmetrics takes others for not retrieved."""
    gallery, labels = sets[1], sets[0].labels[:500]
    scores = prepare(sets[0].embeddings[:500], "cosine") @ prepare(gallery.embeddings, "cosine").T + 2
    relevant = gallery.labels == labels[:, None]
    indexes = torch.arange(len(labels))[:, None].expand_as(scores)

    def ours() -> Tensor:
        return metrics.average_precision_of_scores(scores, labels, gallery.labels).mean()

    def theirs() -> Tensor:
        found: Tensor = RetrievalMAP()(scores, relevant, indexes)
        return found

    assert ours().item() == pytest.approx(theirs().item(), abs=1e-5)
    work, rival = f"mAP over the whole ranking, 500 queries in {GALLERY:,}", "torchmetrics' RetrievalMAP"
    pair(work, rival, "15x", ours, theirs)


def test_knn(sets: tuple[EmbeddedImages, EmbeddedImages], pair: Pair) -> None:
    queries, gallery = sets
    index = Gallery.build(gallery.embeddings, gallery.labels, metric="euclidean")
    rival = KNeighborsClassifier(10, n_jobs=-1).fit(gallery.embeddings.numpy(), gallery.labels.numpy())

    def ours() -> Tensor:
        return metrics.knn_labels(index.search(queries.embeddings, 10)[1], gallery.labels, 10)

    def theirs() -> Any:
        return rival.predict(queries.embeddings.numpy())

    assert (ours().numpy() == theirs()).mean() > 0.999
    work = f"k-NN predict, k = 10, {QUERIES:,} x {GALLERY:,} x {WIDTH:,}"
    pair(work, "scikit-learn's KNeighborsClassifier, all cores", "2x", ours, theirs, rounds=3)

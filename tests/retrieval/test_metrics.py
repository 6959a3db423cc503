"""Retrieval metrics on hand-written rankings, and against scikit-learn and pytorch-metric-learning."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from carsfg.retrieval import metrics, similarity
from carsfg.retrieval.similarity import Metric, prepare, score_chunks
from carsfg.search.gallery import Gallery

# one query of class 7; the gallery, nearest first, is of these classes: R = 3
RANKING = [7, 1, 7, 2, 2, 7]
HITS = torch.tensor([[True, False, True, False, False, True]])
R = torch.tensor([3])


def average_precision(
    q: Tensor, g: Tensor, ql: Tensor, gl: Tensor, itself: Tensor | None = None, metric: Metric = "cosine"
) -> Tensor:
    """AP of embeddings."""
    chunks = score_chunks(prepare(q, metric), prepare(g, metric), itself, metric)
    return torch.cat([metrics.average_precision_of_scores(scores, ql[rows], gl) for rows, scores in chunks])


def test_a_ranking_by_hand() -> None:
    assert [metrics.top_k(HITS, k).item() for k in (1, 2, 6)] == [1, 1, 1]
    assert [metrics.precision_at_k(HITS, k).item() for k in (1, 2, 4)] == [1, 0.5, 0.5]
    assert metrics.r_precision(HITS, R).item() == pytest.approx(2 / 3)
    assert metrics.map_at_r(HITS, R).item() == pytest.approx((1 + 2 / 3) / 3)  # P(1) and P(3); the hit at 6 is past R
    assert on_a_line(RANKING).item() == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_nothing_relevant_in_front() -> None:
    hits = torch.tensor([[False, False, True, True]])
    relevant = torch.tensor([2])
    assert [metrics.top_k(hits, k).item() for k in (1, 2, 3)] == [0, 0, 1]
    assert metrics.r_precision(hits, relevant).item() == 0
    assert metrics.map_at_r(hits, relevant).item() == 0
    assert on_a_line([1, 1, 7, 7]).item() == pytest.approx((1 / 3 + 2 / 4) / 2)


def on_a_line(labels: list[int], itself: int | None = None, scores: list[float] | None = None) -> Tensor:
    """AP of a query of class 7 at 0; the gallery lies at 1, 2, 3, .. unless told otherwise."""
    places = torch.tensor(scores or list(range(1, len(labels) + 1)), dtype=torch.float32)[:, None]
    own = None if itself is None else torch.tensor([itself])
    arguments = (torch.zeros(1, 1), places, torch.tensor([7]), torch.tensor(labels), own)
    return average_precision(*arguments, metric="euclidean")


def test_ties_go_to_the_smaller_index() -> None:
    """Duplicates: all four at one distance, so that they rank as they stand."""
    assert on_a_line([7, 1, 7, 1], scores=[2, 2, 2, 2]).item() == pytest.approx((1 + 2 / 3) / 2)
    assert on_a_line([1, 1, 7, 7], scores=[2, 2, 2, 2]).item() == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert on_a_line([1, 7, 1, 7], scores=[2, 1, 1, 2]).item() == pytest.approx((1 + 2 / 4) / 2)


def test_the_query_is_left_out_by_its_index_alone() -> None:
    """It lies at 0 twice: its twin of another class, first in the gallery, stays, and is wrong."""
    assert on_a_line([3, 7, 7], itself=1, scores=[0, 0, 1]).item() == pytest.approx(1 / 2)
    assert on_a_line([7, 7, 3], itself=0, scores=[0, 0, 1]).item() == 1
    gallery = Gallery.build(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([3, 7, 7]), metric="euclidean")
    _, neighbours = gallery.search(torch.zeros(1, 1), 2, torch.tensor([1]))
    assert neighbours.tolist() == [[0, 2]]


def test_nothing_to_find() -> None:
    assert metrics.relevant_counts(torch.tensor([7, 8]), torch.tensor([7, 7, 9])).tolist() == [2, 0]
    assert metrics.relevant_counts(torch.tensor([7, 9]), torch.tensor([7, 7, 9]), torch.tensor([0, 2])).tolist() == [
        1,
        0,
    ]
    assert torch.isnan(on_a_line([1, 2]))
    assert torch.isnan(on_a_line([7, 2], itself=0))


def test_one_class_is_always_right() -> None:
    labels = torch.zeros(5, dtype=torch.int64)
    points, own = torch.arange(5.0)[:, None], torch.arange(5)
    assert metrics.relevant_counts(labels, labels, own).tolist() == [4] * 5
    average = average_precision(points, points, labels, labels, own, "euclidean")
    torch.testing.assert_close(average, torch.ones(5, dtype=torch.float64))


def test_a_gallery_smaller_than_k() -> None:
    hits = metrics.find_hits(torch.tensor([[1, 0, -1, -1]]), torch.tensor([7]), torch.tensor([7, 1]))
    assert hits.tolist() == [[False, True, False, False]]  # -1 is no place, not the last one
    assert metrics.top_k(hits, 10).item() == 1
    assert metrics.precision_at_k(hits, 10).item() == pytest.approx(0.1)


def test_a_ranking_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a query has 9 relevant items, the ranking ends at 6"):
        metrics.map_at_r(HITS, torch.tensor([9]))


def test_the_vote() -> None:
    labels = torch.tensor([4, 2, 2, 4, 9])
    neighbours = torch.tensor([[4, 0, 1, 2, 3], [0, 1, 4, -1, -1]])
    assert metrics.knn_labels(neighbours, labels, 1).tolist() == [9, 4]
    assert metrics.knn_labels(neighbours, labels, 2).tolist() == [4, 2]  # one vote each: the smaller label
    assert metrics.knn_labels(neighbours, labels, 4).tolist() == [2, 2]
    assert metrics.knn_labels(neighbours, labels, 5).tolist() == [2, 2]  # two and two


def test_negative_scores_and_zeros_keep_their_order() -> None:
    keys = metrics._order_keys(torch.tensor([[0.0, -0.0, -2.5, 1.5, -torch.inf, 1e-40, -1e-40]]))
    assert keys.argsort(descending=True).tolist() == [[3, 5, 0, 1, 6, 2, 4]]


def whole_numbers(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A case without any rounding, full of ties."""
    return tuple(one.round() if one.is_floating_point() else one for one in random_case(seed))  # type: ignore[return-value]


def random_case(seed: int, queries: int = 500) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings and labels in which classes show, but not clearly."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(12, 16))
    labels = [draw.integers(0, 12, count) for count in (queries, 700)]
    points = [centres[one] + 1.5 * draw.normal(size=(len(one), 16)) for one in labels]
    q, g = (torch.from_numpy(one).float() for one in points)
    return q, g, torch.from_numpy(labels[0]), torch.from_numpy(labels[1])


def test_ap_is_scikit_learn_s() -> None:
    """On 2,000 random rankings and more, half by either metric, whose scores differ by more than rounding does."""
    compared = 0
    for metric, seed in (("cosine", 0), ("euclidean", 1), ("cosine", 2), ("euclidean", 3)):
        q, g, ql, gl = random_case(seed, queries=1300)
        ours = average_precision(q, g, ql, gl, metric=metric)  # type: ignore[arg-type]
        a, b = prepare(q, metric).double(), prepare(g, metric).double()  # type: ignore[arg-type]
        scores = a @ b.T if metric == "cosine" else -torch.cdist(a, b)
        clear = scores.sort(1).values.diff().min(1).values > 1e-6 * scores.abs().max()
        for own, label, row in zip(ours[clear], ql[clear], scores[clear], strict=True):
            assert own.item() == pytest.approx(average_precision_score(gl == label, row), abs=1e-9)
        compared += int(clear.sum())
    assert compared >= 2000


@pytest.mark.parametrize("alone", [False, True])
def test_figures_are_pytorch_metric_learning_s(alone: bool) -> None:
    q, g, ql, gl = random_case(2, queries=2000)
    if alone:
        g, gl = q, ql
    itself = torch.arange(len(q)) if alone else None
    relevant = metrics.relevant_counts(ql, gl, itself)
    gallery = Gallery.build(g, gl, metric="euclidean")
    hits = metrics.find_hits(gallery.search(q, int(relevant.max()), itself)[1], ql, gl)
    names = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=names, k="max_bin_count", device=torch.device("cpu"))
    theirs = calculator.get_accuracy(q, ql, g, gl, ref_includes_query=alone)
    assert metrics.top_k(hits, 1).mean().item() == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert metrics.r_precision(hits, relevant).mean().item() == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert metrics.map_at_r(hits, relevant).mean().item() == pytest.approx(
        theirs["mean_average_precision_at_r"], abs=1e-6
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 3, 7, 10])
def test_the_vote_is_scikit_learn_s(metric: Metric, k: int) -> None:
    q, g, _, gl = random_case(3, queries=2000)
    neighbours = Gallery.build(g, gl, metric=metric).search(q, k)[1]
    theirs = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(g.numpy(), gl.numpy()).predict(q.numpy())
    assert np.array_equal(metrics.knn_labels(neighbours, gl, k).numpy(), theirs)


def test_faiss_and_the_full_ranking_agree() -> None:
    """Where all relevant items lie among the neighbours, AP follows from them as well."""
    q, _, labels, _ = random_case(4)
    own = torch.arange(len(q))
    neighbours = Gallery.build(q, labels).search(q, len(q) - 1, own)[1]
    hits = metrics.find_hits(neighbours, labels, labels).double()
    ranks = torch.arange(1, len(q))
    ap = (hits * hits.cumsum(1) / ranks).sum(1) / hits.sum(1)
    torch.testing.assert_close(average_precision(q, q, labels, labels, own), ap, rtol=0, atol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, g, ql, gl = whole_numbers(5)
    whole = average_precision(q, g, ql, gl, metric="euclidean")
    monkeypatch.setattr(similarity, "CHUNK_BYTES", 24 * len(g) * 3)
    assert torch.equal(average_precision(q, g, ql, gl, metric="euclidean"), whole)


def test_many_ties_by_a_plain_sort() -> None:
    q, g, ql, gl = whole_numbers(6)
    distances = torch.cdist(q.double(), g.double())
    order = distances.sort(dim=1, stable=True).indices
    hits = (gl[order] == ql[:, None]).double()
    expected = (hits * hits.cumsum(1) / torch.arange(1, len(g) + 1)).sum(1) / hits.sum(1)
    torch.testing.assert_close(average_precision(q, g, ql, gl, metric="euclidean"), expected, rtol=0, atol=1e-12)
    _, neighbours = Gallery.build(g, gl, metric="euclidean").search(q, 40)
    assert torch.equal(neighbours, order[:, :40])  # FAISS, past ties on the last place

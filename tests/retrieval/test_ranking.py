"""All figures of a search, by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from carsfg.errors import TrainingError
from carsfg.retrieval import metrics
from carsfg.retrieval.faiss_index import nearest
from carsfg.retrieval.ranking import EmbeddedImages, search


def embedded(points: list[float], labels: list[int], indices: list[int] | None = None) -> EmbeddedImages:
    places = torch.arange(len(labels)) if indices is None else torch.tensor(indices)
    return EmbeddedImages(torch.tensor(points)[:, None], torch.tensor(labels), places)


def test_figures_by_hand_in_a_gallery_of_its_own() -> None:
    queries, gallery = embedded([0, 10, 3], [7, 8, 9]), embedded([1, 2, 9, 20], [7, 8, 8, 7])
    figures = search(queries, gallery, [1, 2], [1, 3], "euclidean").metrics
    del figures["fit_s"], figures["predict_s"]
    # query 0 finds 7 8 8 7, query 1 finds 8 8 7 7 (9, 2, 1, 20), query 2 has nothing to find; by 3 votes 8, 8, 8
    expected = {"top_1": 1, "top_2": 1, "precision_2": (1 + 2) / 4, "r_precision": (1 + 2) / 4, "left_out": 1}
    expected |= {"map_at_r": (0.5 + 1) / 2, "map": ((1 + 2 / 4) / 2 + 1) / 2, "knn_1": 2 / 3, "knn_3": 1 / 3}
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["knn_3_precision_weighted"] == pytest.approx(1 / 9)  # 8 is right one time in three, the others never
    assert figures["knn_3_f1_weighted"] == pytest.approx(1 / 6)


def test_figures_by_hand_among_themselves() -> None:
    figures = search(embedded([0, 0, 1, 5], [7, 8, 7, 8]), None, [1], [1], "euclidean").metrics
    # each finds its duplicate or neighbour first, of the other class, but the third;
    # 7: 8 7 8, 8: 7 7 8, 7: 7 8 8, 8: 7 7 8
    assert figures["top_1"] == pytest.approx(1 / 4)
    assert figures["map"] == pytest.approx((1 / 2 + 1 / 3 + 1 + 1 / 3) / 4, abs=1e-6)
    assert figures["left_out"] == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_diverged_network_is_said(value: float) -> None:
    queries, gallery = embedded([0, value], [7, 8]), embedded([1, 2], [7, 8])
    for searched, where in ((queries, gallery), (gallery, queries), (queries, None)):
        with pytest.raises(TrainingError, match="an embedding is not finite"):
            search(searched, where, [1], [1], "euclidean")


def test_a_single_image_of_a_single_class() -> None:
    figures = search(embedded([2], [0]), embedded([1], [0]), [1], [1], "cosine").metrics
    assert (figures["top_1"], figures["knn_1"], figures["map"]) == (1, 1, 1)


def test_a_split_of_one_image_has_nothing_to_find() -> None:
    """Nobody votes, and no class is right by default."""
    values = search(embedded([2], [0]), None, [1], [1, 3], "cosine").metrics
    assert all(math.isnan(values[key]) for key in ("top_1", "map", "knn_1", "knn_3", "knn_3_f1_weighted"))
    assert values["left_out"] == 1


@pytest.mark.parametrize(("value", "scale"), [(1e20, 1), (3, 1e25)])
def test_distances_that_overflow_are_said(value: float, scale: float) -> None:
    """Before, all were equal, and the metrics were those of a ranking by index."""
    one, other = embedded([0, value], [7, 8]), embedded([1, 2], [7, 8])
    one.embeddings = one.embeddings * scale
    for searched, where in ((one, other), (other, one), (one, None)):
        with pytest.raises(TrainingError, match="an embedding is too large for distances in float32"):
            search(searched, where, [1], [1], "euclidean")


def test_the_cosine_of_huge_embeddings_is_right() -> None:
    points, labels = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    plain, huge = (EmbeddedImages(points * scale, labels, torch.arange(60)) for scale in (1, 1e25))
    one, other = (search(images, None, [1], [3], "cosine").metrics for images in (plain, huge))
    assert one["map"] == pytest.approx(other["map"], abs=1e-12)


def test_embeddings_of_zeros_are_said() -> None:
    with pytest.warns(UserWarning, match="2 of 3 embeddings are all zeros"):
        search(embedded([0, 0, 1], [7, 8, 7]), None, [1], [1], "cosine")


def test_the_seconds_of_the_prediction_are_without_those_of_ap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's table has fit and predict of k-NN, which knows no average precision."""
    now, slow = [0.0], metrics.average_precision_of_scores

    def ten_seconds(*args: Any) -> Tensor:
        now[0] += 10
        return slow(*args)

    def one_second(*args: Any) -> tuple[Tensor, Tensor]:
        now[0] += 1
        return nearest(*args)

    monkeypatch.setattr("carsfg.retrieval.ranking.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("carsfg.retrieval.metrics.average_precision_of_scores", ten_seconds)
    monkeypatch.setattr("carsfg.retrieval.ranking.nearest", one_second)
    values = search(embedded([0, 1, 2], [7, 8, 7]), None, [1], [1], "euclidean").metrics
    assert (values["fit_s"], values["predict_s"]) == (0, 1)

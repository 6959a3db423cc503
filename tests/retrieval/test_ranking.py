"""All figures of a search, by hand."""

import pytest
import torch

from carsfg.errors import TrainingError
from carsfg.retrieval.ranking import Embedded, search


def embedded(points: list[float], labels: list[int], indices: list[int] | None = None) -> Embedded:
    places = torch.arange(len(labels)) if indices is None else torch.tensor(indices)
    return Embedded(torch.tensor(points)[:, None], torch.tensor(labels), places)


def test_figures_by_hand_in_a_gallery_of_its_own() -> None:
    queries, gallery = embedded([0, 10, 3], [7, 8, 9]), embedded([1, 2, 9, 20], [7, 8, 8, 7])
    figures = search(queries, gallery, [1, 2], [1, 3], "euclidean").figures
    del figures["fit_s"], figures["predict_s"]
    # query 0 finds 7 8 8 7, query 1 finds 8 8 7 7 (9, 2, 1, 20), query 2 has nothing to find; by 3 votes 8, 8, 8
    expected = {"top_1": 1, "top_2": 1, "precision_2": (1 + 2) / 4, "r_precision": (1 + 2) / 4, "left_out": 1}
    expected |= {"map_at_r": (0.5 + 1) / 2, "map": ((1 + 2 / 4) / 2 + 1) / 2, "knn_1": 2 / 3, "knn_3": 1 / 3}
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["knn_3_precision_weighted"] == pytest.approx(1 / 9)  # 8 is right one time in three, the others never
    assert figures["knn_3_f1_weighted"] == pytest.approx(1 / 6)


def test_figures_by_hand_among_themselves() -> None:
    figures = search(embedded([0, 0, 1, 5], [7, 8, 7, 8]), None, [1], [1], "euclidean").figures
    # each finds its twin or neighbour first, of the other class, but the third; 7: 8 7 8, 8: 7 7 8, 7: 7 8 8, 8: 7 7 8
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
    figures = search(embedded([0], [0]), embedded([1], [0]), [1], [1], "cosine").figures
    assert (figures["top_1"], figures["knn_1"], figures["map"]) == (1, 1, 1)

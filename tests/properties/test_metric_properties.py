"""Ranking metrics against a textbook implementation in plain Python, with ties, R = 0 and k above the gallery."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carsfg.retrieval import metrics
from carsfg.retrieval.faiss_index import nearest
from carsfg.retrieval.ranking import EmbeddedImages, search
from tests.properties.strategies import few

# whole numbers, so that scores are exact and many are tied
galleries = st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=14)
Gallery = list[tuple[int, int, int]]


def _images(rows: Gallery) -> EmbeddedImages:
    labels, *numbers = zip(*rows, strict=True)
    return EmbeddedImages(torch.tensor(numbers).T.float(), torch.tensor(labels), torch.arange(len(rows)))


def _ranking(query: tuple[int, int, int], gallery: Gallery, itself: int | None) -> list[int]:
    """Places by Euclidean distance, ties by place."""

    def distance(place: int) -> int:
        return (query[1] - gallery[place][1]) ** 2 + (query[2] - gallery[place][2]) ** 2

    return sorted(
        (place for place in range(len(gallery)) if place != itself), key=lambda place: (distance(place), place)
    )


def _textbook(hits: list[bool], relevant: int, k: int) -> dict[str, float]:
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return {
        f"top_{k}": float(any(hits[:k])),
        f"precision_{k}": sum(hits[:k]) / k,
        "r_precision": sum(hits[:relevant]) / relevant,
        "map_at_r": sum(p for p, hit in zip(precision[:relevant], hits, strict=False) if hit) / relevant,
        "map": sum(p for p, hit in zip(precision, hits, strict=True) if hit) / relevant,
    }


def _vote(labels: list[int]) -> int:
    counts = Counter(labels)
    return min((label for label in counts if counts[label] == max(counts.values())), default=-1)


@few
@given(galleries, galleries, st.booleans(), st.integers(2, 20))
def test_all_metrics_are_those_of_the_textbook(queries: Gallery, gallery: Gallery, alone: bool, k: int) -> None:
    """`alone`: the queries are the gallery, each without itself; `k` may be above its size."""
    where = queries if alone else gallery
    rankings = [_ranking(query, where, place if alone else None) for place, query in enumerate(queries)]
    found = search(_images(queries), None if alone else _images(gallery), [k], [k], "euclidean")
    expected = []
    for query, ranking in zip(queries, rankings, strict=True):
        hits = [where[place][0] == query[0] for place in ranking]
        if any(hits):
            expected.append(_textbook(hits, sum(hits), k))
    for row, ranking in zip(found.neighbours.tolist(), rankings, strict=True):
        assert [place for place in row if place >= 0] == ranking[: len(row)]
    assert found.metrics["left_out"] == len(queries) - len(expected)
    for name in expected[0] if expected else ():
        mine = found.by_query[name].tolist()
        assert mine == pytest.approx([one[name] for one in expected], abs=1e-6), name
    voted = metrics.knn_labels(found.neighbours, torch.tensor([row[0] for row in where]), k).tolist()
    assert voted == [_vote([where[place][0] for place in ranking[:k]]) for ranking in rankings]


@few
@given(
    st.lists(st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, -1e30]), min_size=5, max_size=5), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_the_nearest_are_sorted_by_score_then_place(rows: list[list[float]], k: int) -> None:
    scores, places = nearest(torch.tensor(rows), k)
    for row, values, found in zip(rows, scores.tolist(), places.tolist(), strict=True):
        order = sorted(range(5), key=lambda place: (-row[place], place))[:k]
        assert found == order + [-1] * (k - len(order))
        assert values[: len(order)] == pytest.approx([row[place] for place in order])

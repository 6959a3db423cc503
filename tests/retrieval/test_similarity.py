"""Similarity scores: lengths and origins that float32 cannot hold, and equal vectors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from carsfg.retrieval.similarity import Metric, count_zeros, find_copies, find_fault, find_origin, prepare, score_chunks


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_lengths_by_hand(kind: torch.dtype) -> None:
    given = torch.tensor([[3, 4], [0, 0], [0, -2]], dtype=kind)
    unit = prepare(given, "cosine")
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0, 0], [0, -1]]))
    assert torch.equal(prepare(given, "euclidean"), given.float())
    assert count_zeros(unit) == 1


@pytest.mark.parametrize(
    ("scale", "kind"),
    [*((scale, torch.float32) for scale in (1e20, 1e30, 1e-13, 1e-30)), (1e300, torch.float64)],
)
def test_the_cosine_has_no_scale(scale: float, kind: torch.dtype) -> None:
    """Squares of 1e20 overflow float32, those of 1e-30 vanish."""
    points = normal(20, 8)
    torch.testing.assert_close(prepare(points.to(kind) * scale, "cosine"), prepare(points, "cosine"))
    assert find_fault(points.to(kind) * scale, prepare(points.to(kind) * scale, "cosine")) is None


def test_ordinary_lengths_are_those_of_torch() -> None:
    points = normal(100, 8)
    points[3] *= 1e25  # one odd vector does not change the others
    assert torch.equal(prepare(points, "cosine")[4:], torch.nn.functional.normalize(points[4:]))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (torch.nan, torch.float32, "an embedding is not finite"),
        (torch.inf, torch.float32, "an embedding is not finite"),
        (1e20, torch.float32, r"an embedding is too large for distances in float32 .largest value 1e\+20."),
        (-1e300, torch.float64, r"largest value 1e\+300"),
    ],
)
def test_faults(value: float, kind: torch.dtype, words: str) -> None:
    points = torch.tensor([[1, 2], [3, value]], dtype=kind)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(find_fault(points, prepare(points, "euclidean")))
    assert find_fault(points[:1], prepare(points[:1], "euclidean")) is None


def test_the_origin_by_hand() -> None:
    """The deviation over both coordinates is sqrt((1 + 25) / 2) = 3.6: coordinates are multiples of 2."""
    points = torch.tensor([[99.0, -5], [101, 5]])
    origin = find_origin(points)
    assert origin is not None
    assert origin.tolist() == [100, 0]


@pytest.mark.parametrize("points", [normal(50, 4), torch.full((3, 2), 7.0), torch.tensor([[5.0, 6]])])
def test_no_origin_where_none_is_needed(points: Tensor) -> None:
    """Around 0 scores stay what they were, to the last bit; and equal vectors have no deviation."""
    assert find_origin(points) is None


def test_whole_numbers_stay_whole_numbers() -> None:
    points = torch.randint(1000, 1004, (300, 5), generator=torch.Generator().manual_seed(0)).float()
    origin = find_origin(points)
    assert origin is not None
    assert torch.equal((points - origin) * 2, ((points - origin) * 2).round())
    exact = torch.cdist(points.double(), points.double()).square().round()
    ((_, scores),) = score_chunks(points, points, metric="euclidean")
    assert torch.equal(scores.double() - scores.diagonal()[:, None], -exact / 2 + 0 * exact)


@pytest.mark.parametrize("width", [16, 512])
@pytest.mark.parametrize("ratio", [0, 28, 284, 945])
def test_euclidean_neighbours_are_those_of_centred_float64(ratio: float, width: int) -> None:
    """However large the mean is against the deviation; without an origin 97 % are wrong at 945."""
    mean = ratio * torch.nn.functional.normalize(normal(width, seed=1), dim=0)
    items, queries = normal(1000, width, seed=2) + mean, normal(300, width, seed=3) + mean
    centre = items.double().mean(0)
    exact = torch.cdist(queries.double() - centre, items.double() - centre).argmin(1)
    found = torch.cat([scores.argmax(1) for _, scores in score_chunks(queries, items, metric="euclidean")])
    assert torch.equal(found, exact)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_vectors_have_equal_scores(metric: Metric) -> None:
    """A matrix product may round the last bit of equal columns differently."""
    for copies, width in ((17, 7), (33, 67), (130, 128)):
        items = normal(1, width).repeat(copies, 1)
        for count in (1, 40):
            args: Any = (prepare(normal(count, width, seed=1), metric), prepare(items, metric), None, metric)
            for _, scores in score_chunks(*args):
                assert torch.equal(scores, scores[:, :1].expand_as(scores))


def test_copies_by_hand() -> None:
    vectors = torch.tensor([[1.0, 2], [3, 4], [1, 2], [-0.0, 1], [0.0, 1], [1, 2]])
    copies, originals = find_copies(vectors)
    assert sorted(zip(copies.tolist(), originals.tolist(), strict=True)) == [(2, 0), (4, 3), (5, 0)]
    assert len(find_copies(normal(5, 3))[0]) == 0
    assert len(find_copies(torch.empty(4, 0))[0]) == 0

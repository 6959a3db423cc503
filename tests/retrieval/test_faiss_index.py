"""FAISS behind one file: the nearest, approximate indexes, and what others do to its classes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.errors import InputError
from carsfg.retrieval.faiss_index import look_at, nearest
from carsfg.retrieval.metrics import score_chunks
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import gallery


def test_the_nearest_of_given_scores() -> None:
    """Ties by index, also past the last place; what has -inf is never found."""
    scores = torch.tensor([[1.0, 3, 3, 2], [5, 5, 5, 5], [-torch.inf, -1e30, 0, -torch.inf]])
    assert nearest(scores, 2)[1].tolist() == [[1, 2], [0, 1], [2, 1]]
    found, places = nearest(scores, 5)
    assert places.tolist() == [[1, 2, 3, 0, -1], [0, 1, 2, 3, -1], [2, 1, -1, -1, -1]]
    assert found[2].tolist() == pytest.approx([0, -1e30] + 3 * [-torch.inf])


def test_the_nearest_are_those_of_the_search() -> None:
    """On whole numbers, which are full of ties and free of rounding."""
    points = torch.randint(-2, 3, (400, 5), generator=torch.Generator().manual_seed(0)).float()
    own = torch.arange(400)
    distances, expected = Gallery.build(points, own, metric="euclidean").search(points, 30, own)
    ((_, scores),) = score_chunks(points, points, own, "euclidean")
    found, places = nearest(scores, 30)
    assert torch.equal(places, expected)
    torch.testing.assert_close(2 * found - points.square().sum(1, keepdim=True), -distances.square())


def test_an_approximate_index() -> None:
    points = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    built = Gallery.build(points, torch.zeros(500, dtype=torch.int64), factory="IVF4,Flat")
    assert built.search(points, 1)[1].flatten().tolist() == list(range(500))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("factory", "first"), [("IVF8,Flat", "nprobe"), ("HNSW4", "hnsw")])
def test_an_approximate_index_looks_further(factory: str, first: str, metric: Any, tmp_path: Path) -> None:
    points = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1000, dtype=torch.int64)
    exact = Gallery.build(points, labels, metric=metric).search(points, 10)[1]
    built = Gallery.build(points, labels, metric=metric, factory=factory)
    right = []
    for effort in (1, 4, 1000):
        look_at(built.index, effort)
        right.append(float((built.search(points, 10)[1] == exact).float().mean()))
    assert right[0] < right[1] < right[2]
    assert right[2] > 0.98
    assert hasattr(built.index, first)
    built.save(tmp_path / "cars")  # how far it looks is kept
    loaded = Gallery.load(tmp_path / "cars", mmap=factory == "IVF8,Flat")
    assert torch.equal(loaded.search(points, 10)[1], built.search(points, 10)[1])


@pytest.mark.parametrize("factory", ["Flat", "SQ8"])
def test_an_exact_index_cannot_look_further(factory: str) -> None:
    with pytest.raises(InputError, match="how far to look can be set for IVF and HNSW indexes alone"):
        look_at(gallery(factory=factory).index, 4)


@pytest.mark.slow
def test_beside_faiss_s_own_torch_functions() -> None:
    """pytorch-metric-learning imports them; they put others in place of the indexes' methods, for the whole process."""
    code = """
import torch, faiss.contrib.torch_utils
from carsfg.search.gallery import Gallery
for factory in ("Flat", "IVF1,Flat", "HNSW4"):
    gallery = Gallery.build(torch.eye(5), torch.zeros(5, dtype=torch.int64), factory=factory)
    some = torch.tensor([False, False, True, True, False])
    print(gallery.search(torch.eye(5)[3:], 1)[1].tolist(), gallery.search(torch.eye(5)[:1], 3, among=some)[1].tolist())
print(Gallery.build(torch.eye(5), torch.arange(5)).vector(1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.count("Error") == 0
    assert done.stdout == 3 * "[[3], [4]] [[2, 3, -1]]\n" + "[0.0, 1.0, 0.0, 0.0, 0.0]\n"

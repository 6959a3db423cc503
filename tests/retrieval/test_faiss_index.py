"""FAISS behind one file: the nearest, approximate indexes, and what others do to its classes."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.retrieval import faiss_index
from carsfg.retrieval.faiss_index import faiss_message, make_index, nearest, search_index, set_effort
from carsfg.retrieval.similarity import Metric, score_chunks
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
        set_effort(built.index, effort)
        right.append(float((built.search(points, 10)[1] == exact).float().mean()))
    assert right[0] < right[1] < right[2]
    assert right[2] > 0.98
    assert hasattr(built.index, first)
    built.save(tmp_path / "cars")  # how far it looks is kept
    loaded = Gallery.load(tmp_path / "cars", mmap=factory == "IVF8,Flat")
    assert torch.equal(loaded.search(points, 10)[1], built.search(points, 10)[1])


@pytest.mark.parametrize("factory", ["Flat", "SQ8"])
def test_an_exact_index_cannot_look_further(factory: str) -> None:
    with pytest.raises(InputError, match="the effort of a search can be set for IVF and HNSW indexes only"):
        set_effort(gallery(factory=factory).index, 4)


def photos(count: int = 64, width: int = 16) -> Tensor:
    """Embeddings around a mean that is not 0."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0)) + 0.5


def build(factory: str, metric: Metric = "cosine", **kwargs: Any) -> Gallery:
    points = photos(**kwargs)
    return Gallery.build(points, torch.zeros(len(points), dtype=torch.int64), metric=metric, factory=factory)


@pytest.mark.parametrize(
    ("factory", "metric", "words"),
    [
        ("Flatt", "cosine", "'Flatt' of 64 x 16 embeddings: could not parse index string Flatt"),
        ("Flat,Flat", "cosine", "could not parse index string Flat,Flat"),
        ("", "cosine", "it is empty, write Flat for an exact index"),
        (" ", "cosine", "it is empty"),
        ("IDMap,Flat", "cosine", "add does not make sense with IndexIDMap"),
        ("PQ3", "cosine", "The dimension of the vector .d. should be a multiple"),
        ("LSH", "cosine", "it compares by Euclidean distance only"),
        ("LSH", "euclidean", "LSH counts the bits that differ"),
        ("ITQ8,LSH", "euclidean", "LSH counts the bits that differ"),
        ("HNSW4,PQ4x4", "cosine", "it cannot compare by cosine"),
        ("PCA8,Flat", "cosine", "scores are not cosines; use PCA8,L2norm,Flat$"),
        ("PCA8,IVF4,Flat", "cosine", "scores are not cosines; use PCA8,L2norm,IVF4,Flat$"),
        ("RR8,Flat", "cosine", "scores are not cosines; use RR8,L2norm,Flat$"),
    ],
)
def test_factories_that_are_refused(factory: str, metric: Metric, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        build(factory, metric)
    assert not re.search(r"\.cpp|::|\n", str(error.value))  # no C++


@pytest.mark.parametrize(
    ("factory", "metric"),
    [
        ("PCA8,L2norm,Flat", "cosine"),
        ("RR16,Flat", "cosine"),
        ("L2norm,Flat", "cosine"),
        ("PCA8,Flat", "euclidean"),
    ],
)
def test_images_of_the_gallery_find_themselves_through_transforms(factory: str, metric: Metric) -> None:
    scores, places = build(factory, metric).search(photos(), 1)
    assert places[:, 0].tolist() == list(range(64))
    assert scores[:, 0].tolist() == pytest.approx([float(metric == "cosine")] * 64, abs=0.01)


@pytest.mark.parametrize("factory", ["SQ4", "SQ8", "PQ4x4", "IVF2,RaBitQ"])
def test_a_cosine_is_never_above_1(factory: str) -> None:
    gallery = build(factory)
    raw, _ = gallery.index.search(torch.nn.functional.normalize(photos()).numpy(), 1)
    if factory != "PQ4x4":
        assert raw.max() > 1.001
    assert gallery.search(photos(), 3)[0].max() <= 1


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_index_that_has_not_learned_its_codes(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kinds give scores of 1e31 where there were too few images to learn from."""

    def broken(_: Any, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return torch.full((len(vectors), k), 1e31), torch.zeros(len(vectors), k, dtype=torch.int64)

    monkeypatch.setattr("carsfg.retrieval.faiss_index.search_index", broken)
    with pytest.raises(InputError, match=r"its scores reach 1e\+31; it needs more embeddings"):
        make_index(photos(), "Flat", metric)


def test_giving_a_vector_back_never_ends_the_process(tmp_path: Path) -> None:
    """FAISS itself reads beyond the blocks of an inverted fast-scan index, which ended the server of the app."""
    can = {"IVF2,PQ4x4fs": False, "PCA8,L2norm,IVF2,PQ4x4fs": False, "IVF2,PQ4x4fs,RFlat": True, "PQ4x4fs": True}
    can["PCA8,L2norm,IVF2,Flat"] = True
    for factory, possible in can.items():
        built = build(factory, count=32, width=16)
        built.save(tmp_path / "cars")
        for one in (built, Gallery.load(tmp_path / "cars")):
            assert [one.vector(place) is not None for place in (0, 31)] == [possible, possible], factory


def test_searching_some_images_only_with_an_index_that_cannot() -> None:
    with pytest.raises(InputError, match=r"index .IndexPQ. cannot search some of its images only: index"):
        build("PQ4x4").search(photos(), 1, among=torch.arange(64) < 5)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("Error in void f(int) at /project/faiss/a.cpp:12: could not parse", "could not parse"),
        ("Error in void f(int) at /a.cpp:12: Error: 'nx >= k' failed: Too few (4)", "Too few (4)"),
        ("Error in void f(int) at /a.h:1: Error: 'x > 0' failed", "FAISS needs x > 0"),
        ("No space left on device", "No space left on device"),
        ("", "RuntimeError"),
    ],
)
def test_messages_without_the_source(raised: str, said: str) -> None:
    assert faiss_message(RuntimeError(raised)) == said


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


def cloud(count: int, seed: int) -> Tensor:
    """Unit vectors around 50 centres."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    some = centres[torch.randint(50, (count,), generator=draw)] + 0.8 * torch.randn(count, 16, generator=draw)
    return torch.nn.functional.normalize(some)


@pytest.mark.parametrize("factory", ["IVF64,Flat", "HNSW8", "RR16,IVF64,Flat"])
@pytest.mark.parametrize("limit", [100_000, 0])
@pytest.mark.parametrize(("share", "clustered"), [(0.01, False), (0.01, True), (0.1, False)])
def test_the_recall_of_a_filtered_search(
    factory: str, limit: int, share: float, clustered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least 0.99 where all items may be compared, and at least 0.9 where only the effort grows."""
    monkeypatch.setattr(faiss_index, "MAX_EXACT_ITEMS", limit)
    vectors, queries = cloud(4000, 1), cloud(50, 2)
    index, exact = (make_index(vectors, kind, "cosine") for kind in (factory, "Flat"))
    set_effort(index, 1 if limit else 4 if "IVF" in factory else 32)
    among = torch.rand(4000, generator=torch.Generator().manual_seed(3)) < share
    if clustered:
        among = torch.zeros(4000, dtype=torch.bool).index_fill(0, (vectors @ vectors[0]).topk(40).indices, True)
    before = search_index(index, queries, 10)[1]
    found, truth = (search_index(one, queries, 10, among)[1] for one in (index, exact))
    assert bool(among[found[found >= 0]].all())
    recall = float((found[:, :, None] == truth[:, None]).any(1).float().mean())
    assert recall >= (0.99 if limit else 0.9)
    assert torch.equal(search_index(index, queries, 10)[1], before)  # the effort without a filter stays


def test_a_selection_of_any_length_is_a_bitmap() -> None:
    vectors = torch.eye(11)
    for factory in ("Flat", "IVF2,Flat", "HNSW4"):
        index = make_index(vectors, factory, "euclidean")
        for place in range(11):
            only = torch.arange(11) == place
            assert search_index(index, vectors[:1], 2, only)[1].tolist() == [[place, -1]]

"""The gallery: searching by hand, saving and loading, and everything that may be wrong with its files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.errors import InputError
from carsfg.retrieval.gallery import Gallery, nearest
from carsfg.retrieval.metrics import score_chunks

POINTS = torch.tensor([[0.0, 3], [4, 0], [0, -2], [1, 0], [5, 5]])
LABELS = torch.tensor([2, 0, 2, 0, 1])


def gallery(**kwargs: Any) -> Gallery:
    names = {"paths": [f"{i}.jpg" for i in range(5)], "class_names": ["a", "b", "c"], "stamp": {"weights": "random"}}
    return Gallery.build(POINTS, LABELS, **{**names, **kwargs})


def test_cosine_by_hand() -> None:
    scores, neighbours = gallery().search(torch.tensor([[2.0, 0]]), 3)
    assert neighbours.tolist() == [[1, 3, 4]]  # (4, 0) and (1, 0) point the same way: the smaller index first
    assert scores[0].tolist() == pytest.approx([1, 1, 0.5**0.5])


def test_euclidean_by_hand() -> None:
    scores, neighbours = gallery(metric="euclidean").search(torch.tensor([[0.0, 0]]), 5)
    assert neighbours.tolist() == [[3, 2, 0, 1, 4]]
    assert scores[0].tolist() == pytest.approx([-1, -2, -3, -4, -(50**0.5)])


def test_a_gallery_smaller_than_k() -> None:
    scores, neighbours = gallery(metric="euclidean").search(torch.zeros(1, 2), 7)
    assert neighbours.tolist() == [[3, 2, 0, 1, 4, -1, -1]]
    assert scores[0, 5:].tolist() == [-torch.inf, -torch.inf]
    _, others = gallery(metric="euclidean").search(torch.zeros(1, 2), 7, torch.tensor([2]))
    assert others.tolist() == [[3, 0, 1, 4, -1, -1, -1]]


def test_ties_on_the_last_place_go_to_the_smaller_index() -> None:
    """FAISS itself keeps any of them."""
    same = Gallery.build(torch.ones(300, 4), torch.zeros(300, dtype=torch.int64))
    assert same.search(torch.ones(2, 4), 5)[1].tolist() == [[0, 1, 2, 3, 4]] * 2
    others = same.search(torch.ones(2, 4), 5, torch.tensor([2, 250]))[1]
    assert others.tolist() == [[0, 1, 3, 4, 5], [0, 1, 2, 3, 4]]


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


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_what_was_saved_comes_back(metric: Any, mmap: bool, tmp_path: Path) -> None:
    saved = gallery(metric=metric)
    saved.save(tmp_path / "deep/cars")
    loaded = Gallery.load(tmp_path / "deep/cars", mmap=mmap)
    queries = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    for one, other in zip(saved.search(queries, 4), loaded.search(queries, 4), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(loaded.labels, LABELS)
    assert (loaded.paths, loaded.class_names, loaded.metric) == (saved.paths, ["a", "b", "c"], metric)
    assert loaded.stamp == {"weights": "random"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["cars"]  # nothing is left beside it


def test_the_same_gallery_is_saved_twice(tmp_path: Path) -> None:
    for _ in range(2):
        gallery().save(tmp_path / "cars")
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]
    assert len(Gallery.load(tmp_path / "cars")) == 5


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(InputError, match="is there already and is no gallery"):
        gallery().save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_gallery_with_somebody_s_notes_in_it_is_kept(tmp_path: Path) -> None:
    gallery().save(tmp_path / "cars")
    (tmp_path / "cars/notes.txt").write_text("the best so far")
    with pytest.raises(InputError, match="or more than that"):
        gallery().save(tmp_path / "cars")
    assert (tmp_path / "cars/notes.txt").exists()


def test_a_failed_swap_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery().save(tmp_path / "cars")
    replace, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("boom")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(InputError, match="boom"):
        gallery().save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]


def test_an_interrupted_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery().save(tmp_path / "cars")

    def full(*_: Any) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr("carsfg.retrieval.gallery.faiss.write_index", full)
    with pytest.raises(InputError, match=r"cannot write a gallery to .*No space left"):
        gallery().save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]


def test_queries_of_another_width() -> None:
    with pytest.raises(InputError, match="queries are 3 wide, the gallery 2: it was made by another network"):
        gallery().search(torch.zeros(1, 3), 1)


def test_no_gallery_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no gallery in .*`carsfg predict`"):
        Gallery.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "is not of format 2: build it anew"),
        ({"checksum": "0" * 32}, r"index\.faiss is not the one it was saved with"),
        ({"width": 3}, "its index and its list of images do not match"),
        ({"metric": "euclidean"}, "its index and its list of images do not match"),
        ({"labels": [0, 1]}, "does not hold together"),
        ({"labels": [0, 1, 2, 0, 3]}, "does not hold together"),
        ({"labels": [0, 1, 2, 0, -1]}, "does not hold together"),
        ({"labels": [0, 1, 2, 0, 0.7]}, "does not hold together"),
        ({"labels": [[0], [1], [2], [0], [1]]}, "does not hold together"),
        ({"labels": "many"}, "does not hold together"),
        ({"metric": "hamming"}, "does not hold together"),
        ({"metric": ["cosine"]}, "does not hold together"),
        ({"paths": ["a", "b", "c", "d", "../../e"]}, "does not hold together"),
        ({"paths": [1, 2, 3, 4, 5]}, "does not hold together"),
        ({"paths": None}, "does not hold together"),
        ({"class_names": {}}, "does not hold together"),
        ({"stamp": None}, "does not hold together"),
    ],
)
def test_facts_that_do_not_fit(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    gallery().save(tmp_path / "cars")
    facts = tmp_path / "cars/gallery.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), **change}))
    with pytest.raises(InputError, match=words):
        Gallery.load(tmp_path / "cars")


@pytest.mark.parametrize("file", ["gallery.json", "index.faiss"])
def test_truncated_files(file: str, tmp_path: Path) -> None:
    gallery().save(tmp_path / "cars")
    path = tmp_path / "cars" / file
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InputError, match="damaged"):
        Gallery.load(tmp_path / "cars")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"paths": ["one.jpg"]}, "5 embeddings, 5 labels and 1 paths"),
        ({"factory": "Flatt"}, "no index 'Flatt' of 5 x 2 embeddings"),
        ({"factory": "IVF64,Flat"}, "no index 'IVF64,Flat' of 5 x 2 embeddings"),
    ],
)
def test_galleries_that_cannot_be_built(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        gallery(**kwargs)


def test_embeddings_that_are_no_numbers() -> None:
    with pytest.raises(InputError, match="an embedding is not finite"):
        Gallery.build(torch.tensor([[torch.nan, 1.0]]), torch.tensor([0]))

"""The gallery: searching by hand, saving and loading, and everything that may be wrong with its files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from carsfg.errors import InputError
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import Thumbnails, encode
from carsfg.tasks.checkpoints import load, read_stamp
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.fingerprint import fingerprint

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


@pytest.mark.parametrize("factory", ["Flat", "IVF1,Flat", "HNSW4"])
def test_a_search_among_some(factory: str) -> None:
    some = torch.tensor([True, False, True, False, True])
    scores, places = gallery(metric="euclidean", factory=factory).search(torch.zeros(1, 2), 4, among=some)
    assert places.tolist() == [[2, 0, 4, -1]]
    assert scores[0].tolist() == pytest.approx([-2, -3, -(50**0.5), -torch.inf])
    _, nothing = gallery(factory=factory).search(torch.zeros(1, 2), 2, among=torch.zeros(5, dtype=torch.bool))
    assert nothing.tolist() == [[-1, -1]]


@pytest.mark.parametrize("factory", ["Flat", "IVF1,Flat", "HNSW4"])
def test_embeddings_come_back(factory: str) -> None:
    vector = gallery(metric="euclidean", factory=factory).vector(1)
    assert vector is not None
    assert vector.tolist() == [4, 0]


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


def pictured(shades: range = range(5)) -> Gallery:
    """The gallery with known scores and a grey picture of each image."""
    made = gallery()
    made.known = [-0.5, 0.25, 0.25, 1]
    made.thumbnails = Thumbnails.of([encode(Image.new("RGB", (20, 10), 3 * (40 * shade,))) for shade in shades])
    return made


def network(seed: int = 0) -> CarCNN:
    torch.manual_seed(seed)
    return CarCNN(class_names=["a", "b", "c"], widths=[4, 8], image_size=32).eval()


@pytest.mark.parametrize("mmap", [False, True])
def test_network_and_pictures_come_back(mmap: bool, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars", network())
    names = {path.name for path in (tmp_path / "cars").iterdir()}
    assert names == {"index.faiss", "gallery.json", "network.ckpt", "thumbnails.bin"}
    loaded = Gallery.load(tmp_path / "cars", mmap)
    assert loaded.known == [-0.5, 0.25, 0.25, 1]
    assert loaded.thumbnails is not None
    assert [loaded.thumbnails[place].getpixel((3, 3)) for place in range(5)] == [3 * (40 * n,) for n in range(5)]
    own = load(tmp_path / "cars/network.ckpt")
    assert fingerprint(own) == fingerprint(network())
    images = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8)
    torch.testing.assert_close(own(images)["logits"], network()(images)["logits"])
    assert read_stamp(tmp_path / "cars/network.ckpt") == {"weights": "random"}


def test_the_same_gallery_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pictured().save(tmp_path / name, network())
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_network_and_pictures_are_replaced(tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars", network())
    pictured(range(5, 0, -1)).save(tmp_path / "cars", network(1))
    loaded = Gallery.load(tmp_path / "cars")
    assert loaded.thumbnails is not None
    assert loaded.thumbnails[0].getpixel((3, 3)) == (200, 200, 200)
    assert fingerprint(load(tmp_path / "cars/network.ckpt")) == fingerprint(network(1))
    loaded.save(tmp_path / "cars")  # over the files it is mapped to, and without the network
    assert {path.name for path in (tmp_path / "cars").iterdir()} == {"index.faiss", "gallery.json", "thumbnails.bin"}
    again = Gallery.load(tmp_path / "cars").thumbnails
    assert again is not None
    assert again.jpeg(4) == loaded.thumbnails.jpeg(4)
    gallery().save(tmp_path / "cars")
    assert {path.name for path in (tmp_path / "cars").iterdir()} == {"index.faiss", "gallery.json"}
    assert Gallery.load(tmp_path / "cars").thumbnails is None


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

    monkeypatch.setattr("carsfg.retrieval.faiss_index.faiss.write_index", full)
    with pytest.raises(InputError, match=r"cannot write a gallery to .*No space left"):
        gallery().save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]


def test_queries_of_another_width() -> None:
    with pytest.raises(InputError, match="queries are 3 wide, the gallery 2: it was made by another network"):
        gallery().search(torch.zeros(1, 3), 1)


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

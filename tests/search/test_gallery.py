"""The gallery: searching by hand, saving and loading, and everything that may be wrong with its files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search.contents import Contents
from carsfg.search.gallery import Gallery
from carsfg.search.packed import Paths
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails, encode
from carsfg.tasks.checkpoints import load, read_checkpoint
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.fingerprint import fingerprint

POINTS = torch.tensor([[0.0, 3], [4, 0], [0, -2], [1, 0], [5, 5]])


LABELS = torch.tensor([2, 0, 2, 0, 1])
FILES = {"index.faiss", "gallery.json", "labels.npy", "calibration.npy", "paths.npy", "paths_offsets.npy"}
PICTURES = {"thumbnails.npy", "thumbnails_offsets.npy", "checksums.npy", "boxes.npy", "roots.npy"}


def gallery(**kwargs: Any) -> Gallery:
    names = {
        "paths": [f"{i}.jpg" for i in range(5)],
        "class_names": ["a", "b", "c"],
        "record": RunRecord(weights="mine"),
    }
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
    saved = gallery(metric=metric, fingerprint="abc")
    saved.save(tmp_path / "deep/cars")
    loaded = Gallery.load(tmp_path / "deep/cars", mmap=mmap)
    queries = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    for one, other in zip(saved.search(queries, 4), loaded.search(queries, 4), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(loaded.labels, LABELS)
    assert (loaded.paths, loaded.class_names, loaded.metric) == (saved.paths, ["a", "b", "c"], metric)
    assert loaded.record == RunRecord(weights="mine")
    assert loaded.fingerprint == "abc"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["cars"]  # nothing is left beside it


def test_the_same_gallery_is_saved_twice(tmp_path: Path) -> None:
    for _ in range(2):
        gallery().save(tmp_path / "cars")
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]
    assert len(Gallery.load(tmp_path / "cars")) == 5


def pictured(shades: range = range(5)) -> Gallery:
    """The gallery with known scores and a grey picture of each image."""
    made = gallery()
    made.calibration = [-0.5, 0.25, 0.25, 1]
    made.contents, made.roots = Contents.of([bytes([n + 1] * 16) for n in range(5)]), Roots.of("photos", 5)
    made.thumbnails = Thumbnails.of([encode(Image.new("RGB", (20, 10), 3 * (40 * shade,))) for shade in shades])
    return made


def network(seed: int = 0) -> CarCNN:
    torch.manual_seed(seed)
    return CarCNN(class_names=["a", "b", "c"], widths=[4, 8], image_size=32).eval()


@pytest.mark.parametrize("mmap", [False, True])
def test_network_and_pictures_come_back(mmap: bool, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars", network())
    names = {path.name for path in (tmp_path / "cars").iterdir()}
    assert names == FILES | PICTURES | {"network.ckpt"}
    loaded = Gallery.load(tmp_path / "cars", mmap)
    assert loaded.calibration == [-0.5, 0.25, 0.25, 1]
    assert loaded.thumbnails is not None
    assert [loaded.thumbnails[place].getpixel((3, 3)) for place in range(5)] == [3 * (40 * n,) for n in range(5)]
    own = load(tmp_path / "cars/network.ckpt")
    assert fingerprint(own) == fingerprint(network())
    images = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8)
    torch.testing.assert_close(own(images)["logits"], network()(images)["logits"])
    record = read_checkpoint(tmp_path / "cars/network.ckpt")["carsfg"]["record"]
    assert RunRecord.from_dict(record) == RunRecord(weights="mine")


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
    assert {path.name for path in (tmp_path / "cars").iterdir()} == FILES | PICTURES
    again = Gallery.load(tmp_path / "cars").thumbnails
    assert again is not None
    assert again.jpeg(4) == loaded.thumbnails.jpeg(4)
    gallery().save(tmp_path / "cars")
    assert {path.name for path in (tmp_path / "cars").iterdir()} == FILES
    assert Gallery.load(tmp_path / "cars").thumbnails is None


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """As `docker run -v` and `mkdtemp` make it."""
    (tmp_path / "cars").mkdir()
    gallery().save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars")) == 5


def test_an_old_gallery_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "cars").mkdir()
    for name in ("index.faiss", "gallery.json", "network.ckpt", "thumbnails.bin"):
        (tmp_path / "cars" / name).write_text("of format 2")
    gallery().save(tmp_path / "cars")
    assert {path.name for path in (tmp_path / "cars").iterdir()} == FILES


@pytest.mark.parametrize("mmap", [False, True])
def test_a_folder_whose_name_is_not_utf_8(mmap: bool, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    pictured().save(folder, network())
    loaded = Gallery.load(folder, mmap, verify=True)
    assert loaded.search(torch.tensor([[0.0, 9]]), 1)[1].tolist() == [[0]]
    assert fingerprint(load(folder / "network.ckpt")) == fingerprint(network())


def test_one_line_says_what_it_is() -> None:
    assert repr(gallery()) == "Gallery(5 images, 3 classes, 2-D, cosine, Flat)"
    many = Gallery.build(torch.eye(1280).repeat(7, 1)[:8144], torch.arange(8144) % 196)
    assert repr(many) == "Gallery(8,144 images, 196 classes, 1280-D, cosine, Flat)"


def test_with_mmap_everything_large_stays_on_disk(tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars")
    loaded = Gallery.load(tmp_path / "cars", mmap=True)
    assert isinstance(loaded.paths, Paths)
    assert loaded.thumbnails is not None
    for packed in (loaded.paths.packed, loaded.thumbnails.packed):
        assert isinstance(packed.data, np.memmap)
        assert isinstance(packed.offsets, np.memmap)
    assert loaded.paths[3] == "3.jpg"


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(InputError, match="holds other files than those of a gallery"):
        gallery().save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_gallery_with_somebody_s_notes_in_it_is_kept(tmp_path: Path) -> None:
    gallery().save(tmp_path / "cars")
    (tmp_path / "cars/notes.txt").write_text("the best so far")
    with pytest.raises(InputError, match="holds other files"):
        gallery().save(tmp_path / "cars")
    assert (tmp_path / "cars/notes.txt").exists()


def test_an_interrupted_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery().save(tmp_path / "cars")

    def full(*_: Any) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr("carsfg.retrieval.index_file.faiss.write_index", full)
    with pytest.raises(InputError, match=r"cannot write a gallery to .*No space left"):
        gallery().save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars")) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["cars"]


@pytest.mark.parametrize("factory", ["Flat", "IVF1,Flat"])
def test_euclidean_far_from_the_origin(factory: str, tmp_path: Path) -> None:
    """The mean is 945 times the deviation: FAISS's product for large batches loses the digits that differ."""
    draw = torch.Generator().manual_seed(0)
    mean = 945 * torch.nn.functional.normalize(torch.randn(512, generator=draw), dim=0)
    items, queries = (torch.randn(count, 512, generator=draw) + mean for count in (2000, 1000))
    centre = items.double().mean(0)
    exact = torch.cdist(queries.double() - centre, items.double() - centre)
    made = Gallery.build(items, torch.zeros(2000, dtype=torch.int64), metric="euclidean", factory=factory)
    made.save(tmp_path / "cars")
    for built in (made, Gallery.load(tmp_path / "cars"), Gallery.load(tmp_path / "cars", mmap=True)):
        scores, places = built.search(queries, 1)
        assert torch.equal(places[:, 0], exact.argmin(1))
        torch.testing.assert_close(-scores[:, 0].double(), exact.min(1).values, rtol=1e-4, atol=0)
        vector = built.vector(7)
        assert vector is not None
        torch.testing.assert_close(vector, items[7], rtol=0, atol=1e-4)


def test_an_index_that_gives_images_that_do_not_exist() -> None:
    """As a damaged one may, which is not read before it is searched."""
    damaged = gallery()
    damaged.labels = damaged.labels[:2]
    with pytest.raises(InputError, match="the gallery's index is damaged"):
        damaged.search(POINTS, 2)


@pytest.mark.parametrize(("scale", "kind"), [(1e30, torch.float32), (1e300, torch.float64)])
def test_embeddings_too_large_for_distances(scale: float, kind: torch.dtype) -> None:
    labels = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(InputError, match=r"an embedding is too large for distances in float32 \(largest value"):
        Gallery.build(POINTS.to(kind) * scale, labels, metric="euclidean")
    with pytest.raises(InputError, match=r"too large .* search with the network that made the gallery"):
        gallery(metric="euclidean").search(POINTS.to(kind) * scale, 1)
    scores, places = Gallery.build(POINTS.to(kind) * scale, labels).search(POINTS, 1)  # a cosine has no scale
    assert places[:, 0].tolist() == [0, 1, 2, 1, 4]
    assert scores[:, 0].tolist() == pytest.approx([1] * 5)


def test_queries_of_another_width() -> None:
    with pytest.raises(InputError, match="queries are 3 wide, the gallery 2: it was made by another network"):
        gallery().search(torch.zeros(1, 3), 1)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"paths": ["one.jpg"]}, "5 embeddings, 5 labels and 1 paths"),
        ({"factory": "Flatt"}, "cannot build the index 'Flatt' of 5 x 2 embeddings: could not parse index string"),
        ({"factory": "IVF64,Flat"}, "'IVF64,Flat' of 5 x 2 embeddings: Number of training points .5. should be"),
        ({"factory": ""}, "cannot build the index '' of 5 x 2 embeddings: it is empty, write Flat"),
        ({"metric": "hamming"}, "unknown metric 'hamming': choose cosine or euclidean"),
    ],
)
def test_galleries_that_cannot_be_built(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        gallery(**kwargs)


def test_embeddings_that_are_no_numbers() -> None:
    with pytest.raises(InputError, match="an embedding is not finite"):
        Gallery.build(torch.tensor([[torch.nan, 1.0]]), torch.tensor([0]))

"""From a folder to embeddings, and an approximate index that finds enough."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carsfg.data.box_table import BoxTable
from carsfg.data.image_folder import find_photos, to_square
from carsfg.data.image_io import Box
from carsfg.errors import InputError
from carsfg.retrieval.faiss_index import set_effort
from carsfg.retrieval.similarity import Metric
from carsfg.search.build import choose_factory, embed_photos, shared_images, tune
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import encode
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES


@pytest.fixture(scope="module")
def task() -> CarCNN:
    torch.manual_seed(0)
    return CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine images of noise, the fifth of which is cut off and the last of which is none."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 40, 50, 3), np.uint8)
    for place, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:500])
    (tmp_path / "8.png").write_text("nothing to see")
    return tmp_path


def test_images_of_two_folders_are_compared_by_their_bytes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "copy.png").write_bytes((folder / "2.png").read_bytes())
    changed = bytearray((folder / "3.png").read_bytes())
    changed[-20] ^= 1  # another image of the same size in bytes
    (other / "changed.png").write_bytes(changed)
    assert shared_images(find_photos(folder), find_photos(other)) == ["copy.png"]
    assert shared_images(find_photos(folder), find_photos(folder)) == [f"{place}.png" for place in range(9)]


def test_what_is_made_of_a_folder(task: CarCNN, folder: Path) -> None:
    photos = find_photos(folder)
    found = embed_photos(task, photos, 32, batch_size=3, progress=False)
    assert found.places == [0, 1, 2, 3, 5, 6, 7]
    images = [photos.load(place) for place in found.places]
    with torch.no_grad():
        expected = task.embed({"image": torch.stack([to_square(image, 32) for image in images])})
    torch.testing.assert_close(found.embeddings, expected)
    assert found.embeddings.dtype == torch.float32
    assert found.jpegs == [encode(image) for image in images]
    assert len(found.complaints) == 2
    assert "4.png cannot be decoded" in found.complaints[0]
    assert "8.png is not an image" in found.complaints[1]


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_batch_size_changes_nothing(batch_size: int, task: CarCNN, folder: Path) -> None:
    photos = find_photos(folder)
    one, other = (embed_photos(task, photos, 32, batch_size=size, progress=False) for size in (3, batch_size))
    torch.testing.assert_close(one.embeddings, other.embeddings)
    assert (one.places, one.jpegs, one.complaints) == (other.places, other.jpegs, other.complaints)


def test_the_same_to_the_last_bit(task: CarCNN, folder: Path) -> None:
    one, other = (embed_photos(task, find_photos(folder), 32, progress=False) for _ in range(2))
    assert torch.equal(one.embeddings, other.embeddings)


def test_bfloat16(task: CarCNN, folder: Path) -> None:
    one, other = (embed_photos(task, find_photos(folder), 32, half, progress=False) for half in (False, True))
    assert other.embeddings.dtype == torch.float32
    torch.testing.assert_close(one.embeddings, other.embeddings, rtol=0.05, atol=0.05)
    assert not torch.equal(one.embeddings, other.embeddings)


def test_a_folder_with_nothing_readable(task: CarCNN, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(InputError, match=r"none of the 2 images in .* can be decoded: .*a\.jpg is not an image"):
        embed_photos(task, find_photos(tmp_path), 32, progress=False)


@pytest.mark.parametrize(
    ("count", "factory"),
    [(1, "Flat"), (100_000, "Flat"), (100_001, "IVF512,Flat"), (10**6, "IVF2048,Flat"), (10**7, "IVF8192,Flat")],
)
def test_the_kind_of_index(count: int, factory: str) -> None:
    assert choose_factory(count) == factory


def points(count: int = 1500) -> Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(0))


def built(factory: str, metric: Metric = "cosine", **kwargs: Any) -> Gallery:
    embeddings = points(**kwargs)
    return Gallery.build(embeddings, torch.zeros(len(embeddings), dtype=torch.int64), metric=metric, factory=factory)


def recall(gallery: Gallery, embeddings: Tensor) -> float:
    """Recall@10 of all, each among the others, against an exact index."""
    own, exact = torch.arange(len(embeddings)), built("Flat", gallery.metric, count=len(embeddings))
    found, truth = (one.search(embeddings, 10, own)[1].tolist() for one in (gallery, exact))
    return sum(len({*one} & {*other}) for one, other in zip(found, truth, strict=True)) / (10 * len(own))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("factory", ["IVF32,Flat", "HNSW4"])
def test_an_approximate_index_looks_further_until_it_finds_enough(factory: str, metric: Metric) -> None:
    gallery = built(factory, metric)
    set_effort(gallery.index, 1)
    assert recall(gallery, points()) < 0.7
    said = tune(gallery, points())
    assert said >= 0.97
    assert recall(gallery, points()) == pytest.approx(said, abs=0.02)  # said of 500 of them
    assert recall(gallery, points()) > 0.95


def test_no_further_than_is_asked() -> None:
    gallery = built("IVF32,Flat")
    begun = tune(gallery, points(), enough=0.01)
    assert gallery.index.nprobe == 1
    assert begun < tune(gallery, points(), enough=0.9) < 1
    assert tune(gallery, points(), enough=1) == 1


def test_an_exact_index_stays_as_it_is() -> None:
    assert tune(built("Flat"), points()) == 1


@pytest.mark.parametrize("factory", ["PQ4x4", "IVF8,PQ4x4"])
def test_an_index_that_cannot_find_enough_says_so(factory: str) -> None:
    """It does not keep what would be needed."""
    assert 0.05 < tune(built(factory), points()) < 0.9


@pytest.mark.parametrize(("factory", "count"), [("IVF1,Flat", 1), ("HNSW4", 1), ("IVF2,Flat", 2), ("HNSW4", 5)])
def test_small_galleries(factory: str, count: int) -> None:
    """One image has no neighbours: nothing of them is missed."""
    assert tune(built(factory, count=count), points(count)) == 1


class LeftHalf:
    """Finds the car in the left half of every photo, but none in those without red."""

    def find(self, photos: Sequence[Image.Image]) -> list[Box | None]:
        return [(0, 0, one.width // 2, one.height) if np.asarray(one)[..., 0].any() else None for one in photos]


def test_images_are_cut_by_the_table_then_by_the_finder(task: CarCNN, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 256, (5, 40, 60, 3), np.uint8)
    noise[3, ..., 0] = 0  # no red
    for place, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
    Image.fromarray(noise[4]).resize((32, 32)).save(tmp_path / "4.png")  # as large as the network's input
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\n1.png,10,5,30,35\n2.png,10,5,30,41\n")
    photos, table = find_photos(tmp_path), BoxTable.read(tmp_path / "boxes.csv")
    found = embed_photos(task, photos, 32, batch_size=2, progress=False, finder=LeftHalf(), table=table)
    assert found.places == [0, 1, 3, 4]
    assert (found.boxed, found.boxes) == (2, [(0, 0, 30, 40), (10, 5, 30, 35), None, None])
    (said,) = found.complaints
    assert said.startswith(f"the box 10,5,30,41 leaves {tmp_path / '2.png'} ({tmp_path / 'boxes.csv'}, row 3) of 60 x")
    images = [photos.load(place) for place in found.places]
    images[0], images[1] = images[0].crop((0, 0, 30, 40)), images[1].crop((10, 5, 30, 35))
    with torch.no_grad():
        expected = task.embed({"image": torch.stack([to_square(image, 32) for image in images])})
    torch.testing.assert_close(found.embeddings, expected)
    assert found.jpegs == [encode(image) for image in images]


def test_found_boxes_are_in_pixels_of_the_file(task: CarCNN, tmp_path: Path) -> None:
    """The car is looked for in a photo of 1280 x 640."""
    Image.new("RGB", (2000, 1000), "white").save(tmp_path / "large.png")
    found = embed_photos(task, find_photos(tmp_path), 32, progress=False, finder=LeftHalf())
    assert found.boxes == [(0, 0, 1000, 1000)]


@pytest.mark.parametrize("finder", [None, LeftHalf()])
def test_large_jpegs_are_cut_to_the_same_parts(finder: LeftHalf | None, task: CarCNN, tmp_path: Path) -> None:
    """They are decoded smaller: boxes of a table, of the source and of a finder are in pixels of the file."""
    image = Image.new("RGB", (4000, 2000), (200, 30, 40))
    image.paste((30, 40, 200), (2000, 0, 4000, 2000))
    for name in ("table", "found"):
        image.save(tmp_path / f"{name}.jpg")
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\ntable.jpg,2000,0,4000,2000\n")
    table = BoxTable.read(tmp_path / "boxes.csv")
    found = embed_photos(task, find_photos(tmp_path), 32, progress=False, finder=finder, table=table)
    assert found.boxes == [None if finder is None else (0, 0, 2000, 2000), (2000, 0, 4000, 2000)]
    other, blue = (Image.open(io.BytesIO(jpeg)) for jpeg in found.jpegs)
    assert np.asarray(blue)[..., 0].max() < 60  # nothing red
    assert bool(np.asarray(other)[..., 2].max() < 60) is (finder is not None)  # nothing blue in the left half
    assert blue.size == (224, 224)


def test_queries_are_decoded_as_the_gallery(task: CarCNN, tmp_path: Path) -> None:
    """By one rule: a large photo of the gallery finds itself exactly, whole and with a box."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).resize((2000, 1500)).save(tmp_path / "large.jpg")
    for box in (None, (300, 200, 1800, 1400)):
        rows = "path,x0,y0,x1,y1\n" + ("" if box is None else f"large.jpg,{','.join(map(str, box))}\n")
        (tmp_path / "boxes.csv").write_text(rows)
        table = BoxTable.read(tmp_path / "boxes.csv")
        made = embed_photos(task, find_photos(tmp_path), 32, progress=False, table=table)
        search = VisualSearch(
            task, Gallery.build(made.embeddings, torch.zeros(1, dtype=torch.int64), metric="euclidean")
        )
        photo = search.read(tmp_path / "large.jpg", None if box is None else lambda *_, box=box: box)
        assert photo.image.width < 2000
        assert search.search(tmp_path / "large.jpg", 1, box).matches[0].similarity == pytest.approx(0, abs=1e-6)

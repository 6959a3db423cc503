"""Galleries that grow and shrink equal galleries that are built at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.search import growth
from carsfg.search.attributes import Attributes
from carsfg.search.build import tune
from carsfg.search.calibration import calibrate
from carsfg.search.contents import Contents
from carsfg.search.gallery import Gallery
from carsfg.search.growth import OTHER_PHOTOS, OWN_IMAGES, matching, reindex
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails
from tests.search.test_gallery import LABELS, POINTS, gallery

CLASSES = ["Golf", "Astra", "C/V", "Lark", "Aurora"]


@dataclass
class Photos:
    """Images as a list of rows, which is what a gallery must hold."""

    rows: list[tuple[Tensor, str, str, str, bytes]] = field(default_factory=list)  # vector, class, path, colour, bytes

    def build(self, metric: Any, class_names: list[str], **kwargs: Any) -> Gallery:
        made = Gallery.build(
            torch.stack([row[0] for row in self.rows]),
            torch.tensor([class_names.index(row[1]) for row in self.rows]),
            [row[2] for row in self.rows],
            class_names,
            metric,
            **kwargs,
        )
        made.attributes = Attributes.of({"colour": [row[3] for row in self.rows]})
        made.thumbnails = Thumbnails.of(row[4] for row in self.rows)
        made.contents = Contents.of([row[4].ljust(16) for row in self.rows])
        return made


def grow(made: Gallery, photos: Photos) -> Gallery:
    """Add photos by `Gallery.add`, whose class names are only theirs, in another order."""
    names = sorted({row[1] for row in photos.rows}, reverse=True)
    new = photos.build(made.metric, names)
    vectors = torch.stack([row[0] for row in photos.rows])
    facts = {"attributes": new.attributes, "thumbnails": new.thumbnails, "contents": new.contents}
    return made.add(vectors, new.labels, new.paths, names, **facts)  # type: ignore[arg-type]


def draw(random: np.random.Generator, count: int, number: int) -> Photos:
    vectors = torch.from_numpy(random.integers(-20, 20, (count, 6)).astype(np.float32)) + 100
    return Photos(
        [
            (
                vectors[i],
                str(random.choice(CLASSES)),
                f"{number + i}.jpg",
                f"c{number % 3}",
                f"jpeg {number + i}".encode(),
            )
            for i in range(count)
        ]
    )


def compare(made: Gallery, photos: Photos, queries: Tensor) -> None:
    """Compare all that a gallery holds and answers with one that is built at once."""
    whole = photos.build(made.metric, made.class_names)
    for one, other in zip(made.search(queries, 7), whole.search(queries, 7), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(made.labels, whole.labels)
    assert made.paths == whole.paths
    assert made.attributes.columns() == whole.attributes.columns()
    assert made.thumbnails is not None
    assert [made.thumbnails.jpeg(place) for place in range(len(made))] == [row[4] for row in photos.rows]
    assert len(made) == made.index.ntotal == len(photos.rows)


@pytest.mark.parametrize(("metric", "steps"), [("cosine", 1000), ("euclidean", 300)])
def test_random_steps(metric: Any, steps: int) -> None:
    random = np.random.default_rng(0)
    photos = draw(random, 5, 0)
    made = photos.build(metric, sorted({row[1] for row in photos.rows}))
    number, done = 5, {"add": 0, "remove": 0}
    for _ in range(steps):
        action = random.choice(["add", "remove", "search"])
        if action == "add" and len(photos.rows) < 60:
            new = draw(random, int(random.integers(1, 6)), number)
            number += 5
            known = [photos.rows[place] for place in random.integers(0, len(photos.rows), 2)]
            mixed = Photos([*known, *new.rows, new.rows[0]])
            made, photos = grow(made, mixed), Photos(photos.rows + new.rows)
        elif action == "remove" and len(photos.rows) > 10:
            gone = random.choice(len(photos.rows), int(random.integers(1, 6)), replace=False)
            made = made.remove(gone.tolist())
            photos = Photos([row for place, row in enumerate(photos.rows) if place not in {*gone.tolist()}])
        else:
            compare(made, photos, torch.from_numpy(random.integers(80, 120, (2, 6)).astype(np.float32)))
            continue
        done[str(action)] += 1
    compare(made, photos, torch.stack([row[0] for row in photos.rows]))
    assert min(done.values()) > steps / 5
    names = [made.class_names[label] for label in made.labels.tolist()]
    assert names == [row[1] for row in photos.rows]


def test_an_inverted_file_grows_and_shrinks() -> None:
    """It learns anew at each doubling, finds what exact search finds, and numbers its images from 0."""
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(3000, 16, generator=random)
    made = Gallery.build(vectors[:300], torch.zeros(300, dtype=torch.int64), factory="IVF8,Flat")
    tune(made, vectors[:300])
    kept, trained = torch.arange(300), [300]
    for begin in range(300, 3000, 100):
        rows = torch.arange(begin, begin + 100)
        made, kept = made.add(vectors[rows], torch.zeros(100, dtype=torch.int64)), torch.cat([kept, rows])
        gone = torch.randperm(len(kept), generator=random)[:10]
        made = made.remove(gone)
        kept = kept[torch.isin(torch.arange(len(kept)), gone, invert=True)]
        trained += [made.trained_on] if made.trained_on != trained[-1] else []
    assert made.factory == "IVF8,Flat"
    assert trained == [300, 670, 1390]
    exact = Gallery.build(vectors[kept], torch.zeros(len(kept), dtype=torch.int64))
    itself = torch.arange(len(kept))
    found, truth = (one.search(vectors[kept], 10, itself)[1] for one in (made, exact))
    recall = (found[:, :, None] == truth[:, None]).any(1).float().mean()
    assert recall > 0.95
    assert torch.equal(growth.vectors_of(made), growth.vectors_of(exact))


@pytest.mark.parametrize("factory", ["Flat", "IVF2,Flat", "HNSW4", "SQ8", "Flat,RFlat"])
@pytest.mark.parametrize("mmap", [False, True])
def test_a_saved_gallery_grows_and_the_given_one_stays(factory: str, mmap: bool, tmp_path: Path) -> None:
    vectors = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    Gallery.build(vectors[:40], torch.zeros(40, dtype=torch.int64), factory=factory).save(tmp_path / "cars")
    old = Gallery.load(tmp_path / "cars", mmap)
    grown = old.add(vectors[40:], torch.zeros(20, dtype=torch.int64))
    small = grown.remove(list(range(40)))
    assert (len(old), len(grown), len(small)) == (old.index.ntotal, grown.index.ntotal, small.index.ntotal)
    assert (len(old), len(grown), len(small)) == (40, 60, 20)
    scores, places = small.search(vectors[40:45], 1)
    assert places[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert scores.min() > (0.8 if factory == "SQ8" else 0.9999)  # whose codes end at the first 40 vectors
    small.save(tmp_path / "cars")
    assert len(Gallery.load(tmp_path / "cars", verify=True)) == 20


@pytest.mark.parametrize("factory", ["IVF2,SQ8", "L2norm,Flat"])
def test_kinds_that_cannot_shrink(factory: str) -> None:
    made = Gallery.build(torch.randn(60, 8), torch.zeros(60, dtype=torch.int64), factory=factory)
    with pytest.raises(InputError, match="images cannot be removed from this kind of index"):
        made.remove([3])
    assert len(made.add(torch.randn(2, 8), torch.zeros(2, dtype=torch.int64))) == 62


def test_a_new_class_is_appended_and_old_labels_stay() -> None:
    made = gallery(class_names=["a", "x/y", "c"])
    grown = made.add(torch.tensor([[9.0, 9], [0, 1]]), torch.tensor([1, 2]), class_names=["unused", "d", "x-y"])
    assert grown.class_names == ["a", "x/y", "c", "d"]  # a folder cannot be named x/y
    assert grown.labels.tolist() == [2, 0, 2, 0, 1, 3, 1]
    assert made.class_names == ["a", "x/y", "c"]
    assert grown.paths[4:] == ["4.jpg", "", ""]
    again = grown.remove([5]).add(torch.tensor([[9.0, 9]]), torch.tensor([0]), class_names=["d"])
    assert (again.class_names[3], int(again.labels[-1])) == ("d", 3)


def test_attributes_are_merged() -> None:
    made = gallery()
    made.attributes = Attributes.of({"colour": ["red", "red", "blue", "blue", "red"]})
    new = Attributes.of({"doors": ["5"]})
    grown = made.add(torch.ones(1, 2), torch.tensor([0]), attributes=new)
    assert [grown.attributes.at(place) for place in (0, 5)] == [{"colour": "red"}, {"doors": "5"}]
    assert grown.attributes.columns()["colour"] == ["red", "red", "blue", "blue", "red", ""]
    left = grown.remove([2, 3])
    assert left.attributes.values == {"colour": ["", "red"], "doors": ["", "5"]}
    plain = gallery().add(torch.ones(1, 2), torch.tensor([0]), attributes=new)
    assert plain.attributes.columns() == {"doors": ["", "", "", "", "", "5"]}


def test_images_without_pictures_are_grey() -> None:
    jpegs = Thumbnails.of([b"jpeg"])
    grown = gallery().add(torch.ones(1, 2), torch.tensor([0]), thumbnails=jpegs)
    assert grown.thumbnails is not None
    assert grown.thumbnails[0].getpixel((9, 9)) == (192, 192, 192)
    assert grown.thumbnails.jpeg(5) == b"jpeg"
    assert gallery().add(torch.ones(1, 2), torch.tensor([0])).thumbnails is None


def contents(*names: str, boxes: Any = None) -> Contents:
    return Contents.of([name.encode().ljust(16) for name in names], boxes)


def test_the_same_image_by_file_and_box() -> None:
    box, other = (0, 0, 9, 9), (1, 1, 9, 9)
    own = contents("a", "b", "c", boxes=[None, box, box])
    new = contents("a", "b", "b", "c", "d", "d", boxes=[box, box, other, None, None, None])
    # images are the same if only one of the two has a box; two cars of one file are two images; d occurs twice
    assert own.find(new).tolist() == [0, 1, -1, 2, -1, 7]
    assert Contents.unknown(2).find(Contents.unknown(2)).tolist() == [-1, -1]


def test_merging_skips_what_is_there() -> None:
    one, other = gallery(), gallery(paths=[f"new/{i}.jpg" for i in range(5)], class_names=["c", "b", "d"])
    one.contents, other.contents = contents("0", "1", "2", "3", "4"), contents("9", "1", "8", "8", "4")
    made = one.merge(other)
    assert (len(one), len(other), len(made)) == (5, 5, 7)
    assert list(made.paths) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "new/0.jpg", "new/2.jpg"]
    assert [made.class_names[label] for label in made.labels[5:].tolist()] == ["d", "d"]
    assert torch.equal(growth.vectors_of(made)[5:], growth.vectors_of(other)[[0, 2]])
    assert len(made.merge(other)) == 7


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"fingerprint": "xyz"}, "made by different networks .fingerprints abc and xyz."),
        ({"metric": "euclidean"}, "compared by cosine and euclidean: .* with --metric cosine"),
        ({"class_names": []}, "only one of the galleries has class names"),
    ],
)
def test_galleries_that_cannot_be_merged(others: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        gallery(fingerprint="abc").merge(gallery(**others))
    assert "\n" not in str(error.value)


def test_another_width() -> None:
    with pytest.raises(InputError, match="galleries are 2 and 3 wide"):
        gallery().merge(Gallery.build(torch.ones(1, 3), torch.tensor([0]), class_names=["a"]))
    with pytest.raises(InputError, match="galleries are 2 and 3 wide"):
        gallery().add(torch.ones(1, 3), torch.tensor([0]))


def test_images_that_cannot_be_added_or_removed() -> None:
    with pytest.raises(InputError, match="labels leave the 3 class names"):
        gallery().add(torch.ones(1, 2), torch.tensor([3]))
    with pytest.raises(InputError, match="an embedding is not finite"):
        gallery().add(torch.tensor([[torch.nan, 1]]), torch.tensor([0]))
    with pytest.raises(InputError, match="no image of 5 would be left"):
        gallery().remove([0, 1, 2, 3, 4])
    with pytest.raises(InputError, match="images 0 to 4"):
        gallery().remove([5])
    with pytest.raises(InputError, match="images 0 to 4"):
        gallery().remove([-1])


def test_scores_of_known_cars() -> None:
    """A gallery that was calibrated by its own images is calibrated by all of them; scores of other photos stay."""
    vectors = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(40, dtype=torch.int64)
    whole = Gallery.build(vectors, labels)
    expected = calibrate(whole, vectors, itself=True)
    for calibrated_on, scores in ((OWN_IMAGES, expected), (OTHER_PHOTOS, [0.25]), ("", [0.25])):
        made = Gallery.build(vectors[:30], labels[:30])
        made.calibration, made.calibrated_on = [0.25], calibrated_on
        grown = made.add(vectors[30:], labels[30:])
        assert grown.calibration == pytest.approx(scores, abs=2e-6)
        assert grown.calibrated_on == calibrated_on
    assert made.calibration == [0.25]


@pytest.mark.parametrize(
    ("pattern", "places"),
    [("Audi", [1, 3]), ("Audi/*", [0, 1]), ("*.png", [2]), ("x/Audi/3.jpg", [3]), ("x/[a]/4.jpg", [4])],
)
def test_patterns(pattern: str, places: list[int]) -> None:
    """The class name Audi is not the folder Audi here."""
    paths = ["Audi/0.jpg", "Audi/deep/1.jpg", "b/2.png", "x/Audi/3.jpg", "x/[a]/4.jpg"]
    made = Gallery.build(POINTS, torch.tensor([0, 1, 0, 1, 0]), paths, ["b", "Audi"])
    assert matching(made, pattern).tolist() == places


def test_a_pattern_of_nothing() -> None:
    made = Gallery.build(POINTS, LABELS, [f"train/{i}.jpg" for i in range(5)], ["Golf", "Astra", "Lark"])
    with pytest.raises(InputError, match=r"'Gulf' .did you mean 'Golf'\?.; paths are like 'train/0.jpg'"):
        matching(made, "Gulf")


def test_where_the_photos_lie(tmp_path: Path) -> None:
    """Galleries that are moved together with their photos find them, and a folder that has moved can be named."""
    made = gallery()
    assert made.photo(0) is None
    made.roots = Roots.of(tmp_path / "in/photos", 5)
    grown = made.add(torch.ones(1, 2), torch.tensor([0]), ["new.jpg"], roots=Roots.of(tmp_path / "other", 1))
    grown.save(tmp_path / "in/cars")
    text = (tmp_path / "in/cars/gallery.json").read_text()
    assert '"../photos"' in text
    assert str(tmp_path) not in text
    (tmp_path / "in").rename(tmp_path / "out")
    loaded = Gallery.load(tmp_path / "out/cars")
    assert loaded.photo(4) == tmp_path / "out/photos/4.jpg"
    assert loaded.photo(5) == tmp_path / "other/new.jpg"
    with pytest.raises(InputError, match="photos in 2 folders, name the old one, too: "):
        loaded.roots.moved(tmp_path)
    loaded.roots = loaded.roots.moved(tmp_path / "there", tmp_path / "other")
    assert loaded.photo(5) == tmp_path / "there/new.jpg"
    left = loaded.remove([0, 1, 2, 3, 4])
    assert (left.photo(0), left.roots.folders) == (tmp_path / "there/new.jpg", [str(tmp_path / "there")])
    mixed = gallery().merge(left)
    assert [mixed.photo(place) for place in (0, 5)] == [None, tmp_path / "there/new.jpg"]
    assert mixed.remove([1]).photo(4) == tmp_path / "there/new.jpg"


def test_an_index_is_built_anew() -> None:
    vectors = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    made = Gallery.build(vectors, torch.zeros(400, dtype=torch.int64), metric="euclidean")
    other = reindex(made, "IVF4,Flat")
    assert (other.factory, other.trained_on, made.factory) == ("IVF4,Flat", 400, "Flat")
    assert torch.equal(other.search(vectors, 1)[1][:, 0], torch.arange(400))
    with pytest.raises(InputError, match="cannot build the index 'Flatt'"):
        reindex(made, "Flatt")

"""From a photo to an answer: by hand, with every kind of gallery, and with what does not belong together."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carsfg.data.image_folder import to_square
from carsfg.errors import InputError
from carsfg.retrieval.metrics import knn_labels
from carsfg.retrieval.mirror import mirrored_mean
from carsfg.run_record import RunRecord
from carsfg.search.answer import Answer, Share
from carsfg.search.attributes import Attributes
from carsfg.search.calibration import p_value
from carsfg.search.engine import VisualSearch, as_dict
from carsfg.search.gallery import Gallery
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.fingerprint import fingerprint
from tests.conftest import NAMES

SCENES = 24
MakeGallery = Callable[..., Gallery]


def network(seed: int = 0) -> CarCNN:
    torch.manual_seed(seed)
    return CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval()


def scene(seed: int) -> Image.Image:
    """Smooth noise of 60 x 48 pixels in some colour."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (6, 6, 3)) * draw.uniform(0.2, 1, 3)
    return Image.fromarray(coarse.astype(np.uint8)).resize((60, 48), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def embed(images: list[Image.Image]) -> Tensor:
    with torch.no_grad():
        return network().embed({"image": torch.stack([to_square(image, 32) for image in images])})


@pytest.fixture(scope="module")
def make_gallery() -> MakeGallery:
    """Makes galleries of the scenes, which are of the four classes in turn."""
    embeddings = embed([scene(seed) for seed in range(SCENES)])

    def make(known: tuple[float, ...] = (), **kwargs: Any) -> Gallery:
        labels = torch.arange(SCENES) % len(NAMES)
        paths = [f"cars/{place}.png" for place in range(SCENES)]
        made = {"record": RunRecord(data={"image_size": 32}), "fingerprint": fingerprint(network())}
        given = {"labels": labels, "paths": paths, "class_names": NAMES, **made, **kwargs}
        gallery = Gallery.build(embeddings, **given)
        gallery.calibration = list(known)
        return gallery

    return make


@pytest.fixture(scope="module")
def search(make_gallery: MakeGallery) -> VisualSearch:
    return VisualSearch(network(), make_gallery())


def test_the_known_score_takes_the_nearest_of_the_whole_gallery_and_searches_once(
    make_gallery: MakeGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = make_gallery(known=(0.1, 0.2))
    search, calls, original = VisualSearch(network(), gallery), [], Gallery.search

    def counting(self: Gallery, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        calls.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Gallery, "search", counting)
    whole = search.search(scene(3), k=2).known
    assert len(calls) == 1
    some = search.search(scene(3), k=2, among=torch.arange(SCENES) != 3)
    assert some.matches[0].place != 3
    assert (some.known, len(calls)) == (whole, 3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_mirrored_query_is_the_mean_of_both_embeddings(make_gallery: MakeGallery, metric: Any) -> None:
    """Only the ranking changes; a photo and its mirror image find the same."""
    gallery, photo = make_gallery(metric=metric), scene(3)
    gallery.calibration = gallery.search(embed([photo]), SCENES)[0][0].sort().values.tolist()
    turned = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    plain, mirror = (VisualSearch(network(), gallery, mirror=one).search(photo, k=5) for one in (False, True))
    query = mirrored_mean(embed([photo]), embed([turned]), metric)
    scores, places = gallery.search(query, 5)
    assert [one.place for one in mirror.matches] == places[0].tolist()
    assert [one.similarity for one in mirror.matches] == pytest.approx(scores[0].tolist(), abs=1e-5)
    assert mirror.matches[0].similarity < plain.matches[0].similarity
    assert (mirror.known, mirror.classes) == (plain.known, plain.classes)
    assert (as_dict(plain)["mirror"], as_dict(mirror)["mirror"]) == (False, True)
    again = VisualSearch(network(), gallery, mirror=True).search(turned, k=5)
    assert [one.similarity for one in again.matches] == pytest.approx(scores[0].tolist(), abs=1e-4)


def test_an_image_of_the_gallery_finds_itself_first(search: VisualSearch) -> None:
    for place in range(SCENES):
        first, second = search.search(scene(place), k=2).matches
        assert (first.rank, first.place, first.path) == (1, place, f"cars/{place}.png")
        assert first.similarity == pytest.approx(1, abs=1e-5)
        assert second.rank == 2
        assert second.similarity < first.similarity


def test_what_a_match_says(search: VisualSearch, make_gallery: MakeGallery) -> None:
    """Class names are not parsed, also where they look like those of Stanford Cars."""
    assert all(match.attributes == {} for match in search.search(scene(0), k=SCENES).matches)
    gallery = make_gallery()
    gallery.attributes = Attributes.of({"colour": ["red", "blue", ""] * 8, "seen": [str(n) for n in range(SCENES)]})
    found = VisualSearch(network(), gallery)
    said = {match.place: (match.name, match.attributes) for match in found.search(scene(0), k=SCENES).matches}
    assert said[4] == (NAMES[0], {"colour": "blue", "seen": "4"})
    assert said[5] == (NAMES[1], {"seen": "5"})
    matches = found.search(scene(0), k=SCENES, among=found.among({"colour": "RED"})).matches
    assert sorted(match.place for match in matches) == list(range(0, SCENES, 3))


def test_the_matches_are_the_gallery_s(search: VisualSearch) -> None:
    photo = scene(100)
    scores, places = search.gallery.search(embed([photo]), 7)
    matches = search.search(photo, k=7).matches
    assert [match.place for match in matches] == places[0].tolist()
    assert [match.similarity for match in matches] == pytest.approx(scores[0].tolist(), abs=1e-5)
    assert [match.rank for match in matches] == [1, 2, 3, 4, 5, 6, 7]
    assert len(search.search(photo, k=1000).matches) == SCENES
    assert len(search.search(photo).matches) == 10


@pytest.mark.parametrize("k", [1, 2, 4, 5, 8, 24, 99])
def test_the_vote_is_that_of_k_nearest_neighbours(k: int, search: VisualSearch) -> None:
    """Whole numbers of votes are often equal: then the smallest label wins."""
    gallery = search.gallery
    for seed in range(100, 115):
        answer = search.search(scene(seed), k=k)
        places = torch.tensor([[match.place for match in answer.matches]])
        assert answer.vote[0].name == NAMES[int(knn_labels(places, gallery.labels, k))]
        names = [match.name for match in answer.matches]
        assert {one.name: one.share for one in answer.vote} == {name: names.count(name) / len(names) for name in names}
        shares = [one.share for one in answer.vote]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)


def test_equal_votes_by_hand(search: VisualSearch) -> None:
    assert search.search(scene(0), k=SCENES).vote == [Share(name, 0.25) for name in NAMES]


def test_the_head_s_classes(search: VisualSearch) -> None:
    photo = scene(7)
    with torch.no_grad():
        expected = network()(to_square(photo, 32)[None])["logits"][0].softmax(0)
    classes = search.search(photo).classes
    assert [one.name for one in classes] == [NAMES[label] for label in expected.argsort(descending=True)]
    assert [one.share for one in classes] == pytest.approx(expected.sort(descending=True).values.tolist(), abs=1e-5)


def test_five_of_many_classes() -> None:
    task = CarCNN(class_names=[f"car {n}" for n in range(9)], widths=[4, 8], image_size=32).eval()
    gallery = Gallery.build(torch.randn(3, 8), torch.tensor([0, 1, 8]), class_names=task.class_names)
    assert len(VisualSearch(task, gallery).search(scene(0)).classes) == 5


def test_a_photo_in_all_its_forms(search: VisualSearch, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(scene(3)))
    expected = search.search(scene(3)).matches
    for photo in (tmp_path / "photo.png", str(tmp_path / "photo.png"), png(scene(3))):
        assert search.search(photo).matches == expected


def test_a_box_is_all_that_counts(search: VisualSearch) -> None:
    """An image of the gallery, pasted into a larger scene."""
    wide = Image.new("RGB", (300, 200), "white")
    wide.paste(scene(5), (100, 50))
    (match,) = search.search(png(wide), k=1, box=(100, 50, 160, 98)).matches
    assert match.place == 5
    assert match.similarity == pytest.approx(1, abs=1e-5)
    (whole,) = search.search(png(wide), k=1).matches
    assert whole.similarity < 0.9999


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (RunRecord(), 32),
        (RunRecord(task={"image_size": 48}), 48),
        (RunRecord(task={"image_size": 48}, data={"image_size": 64}), 64),
        (RunRecord(task={"image_size": 48}, data={"image_size": None}), 48),
    ],
)
def test_photos_have_the_size_of_the_training_images(record: RunRecord, size: int, make_gallery: MakeGallery) -> None:
    """The stored size, from which the network resizes to its own; without a record, the network's own."""
    assert VisualSearch(network(), make_gallery(record=record)).size == size


def test_the_photo_comes_back_decoded(search: VisualSearch) -> None:
    wide = Image.new("RGB", (300, 200), "white")
    wide.paste(scene(5), (100, 50))
    answer, picture = search.search_with_picture(png(wide), k=1, box=(100, 50, 160, 98))
    assert answer.matches[0].place == 5
    assert np.array_equal(np.asarray(picture), np.asarray(scene(5)))


def test_whether_the_car_is_known(make_gallery: MakeGallery, search: VisualSearch) -> None:
    assert (search.search(scene(0)).known, search.search(scene(0)).is_known) == (None, None)
    known = (*[0.1] * 10, *[1.1] * 10)  # nothing is as near as 1.1
    answer = VisualSearch(network(), make_gallery(known)).search(scene(0))
    assert answer.known == pytest.approx(11 / 21)
    assert answer.is_known
    answer = VisualSearch(network(), make_gallery((1.1,) * 20)).search(scene(0))
    assert answer.known == pytest.approx(1 / 21)
    assert not answer.is_known
    assert p_value(answer.matches[0].similarity, [1.1] * 20) == answer.known
    assert Answer([], [], [], 0.05, {}).is_known


def test_what_it_took_and_that_all_of_it_is_json(make_gallery: MakeGallery) -> None:
    answer = VisualSearch(network(), make_gallery((0.5,))).search(scene(0), k=2)
    assert list(answer.seconds) == ["decode", "embed", "search"]
    assert all(0 <= took < 60 for took in answer.seconds.values())
    read = json.loads(json.dumps(as_dict(answer)))
    assert set(read) == {"matches", "vote", "classes", "known", "is_known", "seconds", "box", "mirror"}
    assert read["matches"][0] == vars(answer.matches[0])
    assert read["is_known"] is True


def test_a_gallery_without_paths_and_names(make_gallery: MakeGallery) -> None:
    (match,) = VisualSearch(network(), make_gallery(paths=[], class_names=[])).search(scene(6), k=1).matches
    assert (match.name, match.attributes, match.path) == ("2", {}, "")


def test_euclidean_distances_lie_below_zero(make_gallery: MakeGallery) -> None:
    first, second = VisualSearch(network(), make_gallery(metric="euclidean")).search(scene(6), k=2).matches
    assert first.place == 6
    assert first.similarity == pytest.approx(0, abs=1e-3)
    assert second.similarity < first.similarity


def test_saved_and_opened(make_gallery: MakeGallery, search: VisualSearch, tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "cars", network())
    for mmap in (False, True):
        opened = VisualSearch.open(tmp_path / "cars", mmap=mmap)
        assert opened.search(scene(50)).matches == search.search(scene(50)).matches


def test_a_gallery_without_its_network(make_gallery: MakeGallery, search: VisualSearch, tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "cars")
    with pytest.raises(InputError, match=r"the gallery .*cars holds no network: name its checkpoint"):
        VisualSearch.open(tmp_path / "cars")
    save_network(network(), tmp_path / "own.ckpt", RunRecord())
    opened = VisualSearch.open(tmp_path / "cars", tmp_path / "own.ckpt")
    assert opened.search(scene(50)).matches == search.search(scene(50)).matches


def test_another_network_is_refused(make_gallery: MakeGallery, tmp_path: Path) -> None:
    words = "the gallery was made by another network .*: search with the checkpoint it was made with, or index again"
    with pytest.raises(InputError, match=words):
        VisualSearch(network(1), make_gallery())
    make_gallery().save(tmp_path / "cars", network())
    save_network(network(1), tmp_path / "other.ckpt", RunRecord())
    with pytest.raises(InputError, match=words):
        VisualSearch.open(tmp_path / "cars", tmp_path / "other.ckpt")


def test_a_damaged_network(make_gallery: MakeGallery, tmp_path: Path) -> None:
    make_gallery().save(tmp_path / "cars", network())
    (tmp_path / "cars/network.ckpt").write_bytes(b"nothing to load")
    with pytest.raises(InputError, match=r"network\.ckpt"):
        VisualSearch.open(tmp_path / "cars")


@pytest.mark.parametrize("size", ["large", 0, -3, [32], 10**9, True])
@pytest.mark.parametrize("block", ["task", "data"])
def test_a_record_with_an_impossible_size(block: str, size: Any, make_gallery: MakeGallery, tmp_path: Path) -> None:
    """Files are not trusted: a side of 10**9 pixels would fill the memory."""
    record = replace(RunRecord(), **{block: {"image_size": size}})  # type: ignore[arg-type]
    make_gallery(record=record).save(tmp_path / "cars", network())
    with pytest.raises(InputError, match=r"gallery\.json is inconsistent"):
        VisualSearch.open(tmp_path / "cars")


def test_a_list_in_which_there_is_nothing() -> None:
    """An approximate index may look at empty lists alone: nothing is found, which is as far as can be."""
    embeddings = embed([scene(0)] * 8 + [scene(1)])
    gallery = Gallery.build(embeddings, torch.zeros(9, dtype=torch.int64), class_names=NAMES, factory="IVF6,Flat")
    gallery.calibration = [0.5] * 3
    search = VisualSearch(network(), gallery)
    answers = [search.search(scene(seed)) for seed in range(50)]
    (answer, *_) = (one for one in answers if not one.matches)
    assert (answer.vote, answer.known) == ([], 0.25)


@pytest.mark.parametrize(
    ("photo", "wanted", "words"),
    [
        ("nowhere.jpg", {}, r"cannot read nowhere\.jpg"),
        (b"<svg/>", {}, "the photo is not an image"),
        (png(scene(0))[:300], {}, "the photo cannot be decoded"),
        (png(scene(0)), {"box": (0, 0, 61, 48)}, "the box 0,0,61,48 leaves the photo of 60 x 48 pixels"),
        (png(scene(0)), {"k": 0}, "k is 0: ask for 1 image or more"),
    ],
)
def test_photos_that_cannot_be_used(photo: Any, wanted: dict[str, Any], words: str, search: VisualSearch) -> None:
    with pytest.raises(InputError, match=words):
        search.search(photo, **wanted)


class RightHalf:
    """Finds the car in the right half of every photo."""

    def find(self, photos: Sequence[Image.Image]) -> list[tuple[int, int, int, int]]:
        return [(photo.width // 2, 0, *photo.size) for photo in photos]


def test_the_car_is_found_unless_there_is_a_box(make_gallery: MakeGallery) -> None:
    search = VisualSearch(network(), make_gallery(), RightHalf())
    pair = Image.new("RGB", (120, 48))
    pair.paste(scene(3), (0, 0))
    pair.paste(scene(5), (60, 0))
    found, picture = search.search_with_picture(pair, k=1)
    assert (found.matches[0].place, found.box, picture.size) == (5, (60, 0, 120, 48), (60, 48))
    assert list(found.seconds) == ["decode", "find", "embed", "search"]
    given = search.search(pair, k=1, box=(0, 0, 60, 48))
    assert (given.matches[0].place, given.box) == (3, (0, 0, 60, 48))
    assert "find" not in given.seconds


def test_a_square_of_the_networks_size_is_a_crop_already(make_gallery: MakeGallery) -> None:
    square = scene(7).resize((32, 32))
    assert VisualSearch(network(), make_gallery(), RightHalf()).search(square).box is None

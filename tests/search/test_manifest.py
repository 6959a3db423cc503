"""Everything that may be wrong with a gallery's files."""

import json
from pathlib import Path
from typing import Any

import pytest

from carsfg.errors import InputError
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import gallery, pictured


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "gone"])
def test_pictures_that_are_damaged(change: str, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars")
    file = tmp_path / "cars/thumbnails.bin"
    data = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes({"cut": data[:-1], "longer": data + b"x", "empty": b""}[change])
    with pytest.raises(InputError, match=r"cannot read the gallery in .*cars: \S"):
        Gallery.load(tmp_path / "cars")


@pytest.mark.parametrize(
    "offsets", [[], [0], [0] * 6, [0, 1, 2, 3, 4, 5], [0, 5, 4, 3, 2, 1], "all", {}, [0.0] * 6, [None] * 6, 7]
)
def test_offsets_that_are_damaged(offsets: Any, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars")
    facts = tmp_path / "cars/gallery.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "thumbnails": offsets}))
    with pytest.raises(InputError, match=r"does not hold together|are not where they should be"):
        Gallery.load(tmp_path / "cars")


def test_pictures_that_belong_to_more_images(tmp_path: Path) -> None:
    pictured(range(6)).save(tmp_path / "cars")
    with pytest.raises(InputError, match="does not hold together"):
        Gallery.load(tmp_path / "cars")


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
        ({"known": [0.5, 0.25]}, "does not hold together"),
        ({"known": ["0.5"]}, "does not hold together"),
        ({"known": [None, 1]}, "does not hold together"),
        ({"known": [[0.5]]}, "does not hold together"),
        ({"known": [float("nan")]}, "does not hold together"),
        ({"known": [0.5, float("inf")]}, "does not hold together"),
        ({"known": [10**400]}, "does not hold together"),
        ({"known": [False, True]}, "does not hold together"),
        ({"known": None}, "does not hold together"),
        ({"known": 0.5}, "does not hold together"),
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

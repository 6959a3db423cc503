"""Attributes of a gallery's images: kept, shown, filtered by, and damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from carsfg.errors import InputError
from carsfg.search.attributes import Attributes
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import gallery

COLUMNS = {
    "make": ["BMW", "Audi", "BMW", "Alfa Romeo", ""],
    "year": ["2012", "2012", "2013", "2012", "2012"],
}


def test_packed_by_hand() -> None:
    made = Attributes.of(COLUMNS)
    assert made.values == {"make": ["", "Alfa Romeo", "Audi", "BMW"], "year": ["2012", "2013"]}
    assert made.codes.tolist() == [[3, 2, 3, 1, 0], [0, 0, 1, 0, 0]]
    assert made.at(2) == {"make": "BMW", "year": "2013"}
    assert made.at(4) == {"year": "2012"}
    assert Attributes.of({}).at(7) == {}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ({"make": "BMW"}, [0, 2]),
        ({"make": "bmw", "year": "2012"}, [0]),
        ({"year": "2012"}, [0, 1, 3, 4]),
    ],
)
def test_images_with_some_values(wanted: dict[str, str], chosen: list[int]) -> None:
    assert Attributes.of(COLUMNS).among(wanted).nonzero()[:, 0].tolist() == chosen


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"mak": "BMW"}, "the gallery has no attribute 'mak' (did you mean 'make'?); it has make, year"),
        ({"make": "bnw"}, "the gallery holds no image with make bnw (did you mean 'BMW'?)"),
        ({"make": "Volvo"}, "the gallery holds no image with make Volvo; its values of make are Alfa Romeo, Audi, BMW"),
        ({"make": "Audi", "year": "2013"}, "the gallery holds no image with make Audi, year 2013"),
    ],
)
def test_what_no_image_has(wanted: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as error:
        Attributes.of(COLUMNS).among(wanted)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("texts", "choices"),
    [
        (["9", "10", "", "1e3", "-2.5"], ["-2.5", "9", "10", "1e3"]),
        (["9", "10", "3 doors"], ["10", "3 doors", "9"]),
        (["9", "10", "nan"], ["10", "9", "nan"]),
        (["", ""], []),
    ],
)
def test_choices_are_in_the_order_of_numbers_if_all_are_numbers(texts: list[str], choices: list[str]) -> None:
    made = Attributes.of({"seen": texts})
    assert made.choices("seen") == choices
    assert list(made.values["seen"]) == sorted(set(texts))  # as they are stored


def test_many_values_are_not_all_named() -> None:
    with pytest.raises(InputError, match=r"its values of n are 00, 01, .*, 09, \.\.\.$"):
        Attributes.of({"n": [f"{n:02}" for n in range(30)]}).among({"n": "x"})
    with pytest.raises(InputError, match="the gallery has no attribute 'make'; it has none"):
        Attributes().among({"make": "BMW"})


@pytest.mark.parametrize("mmap", [False, True])
def test_they_are_kept(mmap: bool, tmp_path: Path) -> None:
    made = gallery()
    made.save(tmp_path / "cars")
    assert not list((tmp_path / "cars").glob("attributes*"))
    assert Gallery.load(tmp_path / "cars", mmap).attributes.values == {}
    made.attributes = Attributes.of(COLUMNS)
    made.save(tmp_path / "cars")
    read = Gallery.load(tmp_path / "cars", mmap, verify=True).attributes
    assert [read.at(place) for place in range(5)] == [made.attributes.at(place) for place in range(5)]
    Gallery.load(tmp_path / "cars", mmap).save(tmp_path / "again")
    names = ("attributes.json", "attributes.npy")
    assert all((tmp_path / "cars" / one).read_bytes() == (tmp_path / "again" / one).read_bytes() for one in names)


@pytest.mark.parametrize(
    ("values", "codes", "said"),
    [
        ({"make": "BMW"}, None, "attributes.json does not hold texts, index again"),
        ({"make": ["a", 3]}, None, "attributes.json does not hold texts, index again"),
        (["make"], None, "attributes.json does not hold texts, index again"),
        ({"make": ["a", "b"]}, None, "attributes.npy does not fit gallery.json, index again"),
        (None, [4, 0, 0, 0, 0, 0, 0, 0, 0, 0], "attributes.npy does not fit attributes.json, index again"),
        (None, [0, 0, 0, 0, 0, -1, 0, 0, 0, 0], "attributes.npy does not fit attributes.json, index again"),
        (None, [0, 0], "attributes.npy does not fit gallery.json, index again"),
    ],
)
def test_damaged_ones(values: object, codes: list[int] | None, said: str, tmp_path: Path) -> None:
    made, folder = gallery(), tmp_path / "cars"
    made.attributes = Attributes.of(COLUMNS)
    made.save(folder)
    if values is not None:
        (folder / "attributes.json").write_text(json.dumps(values))
    if codes is not None:
        np.save(folder / "attributes.npy", np.array(codes, np.int32))
    facts = json.loads((folder / "gallery.json").read_text())
    for name in ("attributes.json", "attributes.npy"):
        facts["files"][name]["bytes"] = (folder / name).stat().st_size
    (folder / "gallery.json").write_text(json.dumps(facts))
    with pytest.raises(InputError) as error:
        Gallery.load(folder)
    assert str(error.value) == f"the gallery in {folder} is damaged: {said}"

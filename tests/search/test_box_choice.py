"""Which part of a photo is embedded: what the network learned from, the gallery and the user decide."""

from typing import Any

import pytest

from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search.box_choice import (
    BOX_CROPS,
    WHOLE_PHOTOS,
    are_squares,
    choose_for_index,
    choose_for_queries,
    difference_line,
    learned_from,
)


def record(**data: Any) -> RunRecord:
    return RunRecord(data=data)


@pytest.mark.parametrize(
    ("data", "learned"),
    [
        ({}, None),
        ({"crop": True}, BOX_CROPS),
        ({"crop": False}, None),  # whole photos, or crops already
        ({"crop": False, "learned_from": BOX_CROPS}, BOX_CROPS),
        ({"crop": True, "learned_from": WHOLE_PHOTOS}, WHOLE_PHOTOS),
        ({"learned_from": None, "crop": True}, None),
    ],
)
def test_what_a_network_learned_from(data: dict[str, Any], learned: str | None) -> None:
    assert learned_from(record(**data)) == learned


@pytest.mark.parametrize(
    ("asked", "data", "squares", "mode"),
    [
        (None, {"crop": True}, False, "auto"),
        (None, {"crop": True}, True, "none"),
        (None, {"learned_from": WHOLE_PHOTOS}, False, "none"),
        (None, {}, False, "none"),
        ("none", {"crop": True}, False, "none"),
        ("detector", {}, True, "detector"),
    ],
)
def test_images_of_a_folder(asked: str | None, data: dict[str, Any], squares: bool, mode: str) -> None:
    assert choose_for_index(asked, record(**data), squares)[0] == mode


@pytest.mark.parametrize(
    ("asked", "data", "mode"),
    [
        (None, {"box": "none", "crop": True}, "none"),  # as the gallery, whatever the network learned from
        (None, {"box": "detector"}, "detector"),
        (None, {"box": "annotated"}, "auto"),
        (None, {"box": "table"}, "auto"),
        (None, {"crop": True}, "auto"),
        (None, {"crop": False}, "none"),
        ("none", {"box": "auto"}, "none"),
        ("auto", {"box": "none"}, "auto"),
    ],
)
def test_queries_are_treated_as_the_gallery(asked: str | None, data: dict[str, Any], mode: str) -> None:
    assert choose_for_queries(asked, record(**data))[0] == mode


def test_an_unknown_mode() -> None:
    with pytest.raises(InputError, match=r"^--box 'car' must be one of auto, none, detector$"):
        choose_for_index("car", record(), squares=False)


def test_squares_of_one_size_are_crops() -> None:
    assert are_squares([(224, 224)] * 3)
    assert not are_squares([(224, 224), (225, 225)])
    assert not are_squares([(640, 480)] * 3)
    assert not are_squares([(224, 224)])
    assert not are_squares([])


def test_a_difference_is_said() -> None:
    line = difference_line(record(crop=True), WHOLE_PHOTOS, "the photos")
    assert line == (
        "the photos are whole photos, but this network learned from box crops: expect worse results; --box auto finds "
        "the car, --boxes TABLE gives boxes"
    )
    other = difference_line(record(learned_from=WHOLE_PHOTOS), BOX_CROPS, "the images")
    assert other == "the images are box crops, but this network learned from whole photos: expect worse results"
    assert difference_line(record(crop=True), BOX_CROPS, "the images") == ""
    assert difference_line(record(), WHOLE_PHOTOS, "the images") == ""

from pathlib import Path

import numpy as np
import pytest

from carsfg.data.integrity import check, identical_pairs
from carsfg.errors import InputError
from tests.data.conftest import Photo, encode, gradient, write_cars

GREY = encode(np.full((8, 10), 77, np.uint8), "JPEG")
OTHER = encode(gradient(shift=1))


def test_counts(tmp_path: Path) -> None:
    train = [
        Photo(1),
        Photo(1),
        Photo(1, data=OTHER),
        Photo(2, data=GREY),
        Photo(3, data=encode(gradient(shift=2))),
    ]
    test = [Photo(2, data=OTHER), Photo(3, data=encode(gradient(shift=3)))]
    report = check(write_cars(tmp_path, train, test))
    assert (report.classes, report.train.images, report.test.images) == (3, 5, 2)
    assert (report.train.fewest, report.train.most, report.test.fewest, report.test.most) == (1, 3, 0, 1)
    assert (report.train.single_channel, report.test.single_channel) == (1, 0)
    assert (report.identical, report.conflicting, report.across) == (2, 1, 1)
    assert report.unreadable == []


def test_every_unreadable_image_is_listed(tmp_path: Path) -> None:
    train = [Photo(), Photo(data=OTHER[:50]), Photo(data=b""), Photo(box=(6, 2, 5, 5))]
    report = check(write_cars(tmp_path, train, [Photo(data=b"")]))
    assert [sentence.split()[0].split("/")[-2:] for sentence in report.unreadable] == [
        ["cars_train", "00002.jpg"],
        ["cars_train", "00003.jpg"],
        ["cars_train", "00004.jpg:"],
        ["cars_test", "00001.jpg"],
    ]


def test_missing_data_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Stanford Cars data"):
        check(tmp_path)


def test_identical_pairs() -> None:
    assert list(identical_pairs(["a", "", "b", "a", "", "a"])) == [(0, 3), (0, 5), (3, 5)]


@pytest.mark.realdata
@pytest.mark.slow
def test_real_data(real_root: Path) -> None:
    report = check(real_root, crop=False)
    assert (report.classes, report.train.images, report.test.images) == (196, 8144, 8041)
    assert (report.train.fewest, report.train.most) == (24, 68)
    assert report.train.single_channel + report.test.single_channel == 34
    assert (report.identical, report.conflicting, report.across) == (38, 36, 19)
    assert report.unreadable == []

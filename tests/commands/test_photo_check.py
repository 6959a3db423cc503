"""The lines of `carsfg data check` for photos of one's own."""

from pathlib import Path

import torch

from carsfg.commands.photo_check import few_lines, pair_lines
from carsfg.data.photo_check import PhotoCheck
from carsfg.data.sources.source import ImageSource


def check(identical: list[tuple[int, int]], near: list[tuple[int, int]]) -> PhotoCheck:
    """Files 0.jpg to 19.jpg, the even ones of one class, the odd ones of another."""
    source = ImageSource(
        Path("/photos"), [Path(f"/photos/{place}.jpg") for place in range(20)], torch.arange(20) % 2, ["a", "b"]
    )
    return PhotoCheck(source, {"a": 10, "b": 10}, {}, [], (1, 1, 1, 1), identical, near, 0, 0)


def test_pairs_with_conflicting_labels_come_first() -> None:
    assert pair_lines(check([(0, 2)], [(4, 6), (8, 9)])) == [
        "near duplicates, conflicting labels: 8.jpg and 9.jpg",
        "byte-identical: 0.jpg and 2.jpg",
        "near duplicates: 4.jpg and 6.jpg",
    ]


def test_few_pairs_are_listed() -> None:
    lines = pair_lines(check([], [(0, place) for place in range(2, 18, 2)]))
    assert len(lines) == 6
    assert lines[-1] == "and 3 more pairs"


def test_classes_of_few_images() -> None:
    assert few_lines([4, 9]) == []
    assert few_lines([4, 9, 3, 1]) == [
        "2 classes have fewer than 4 images; `carsfg fit` leaves them out (--data.min_images)"
    ]
    assert few_lines([4, 3]) == ["`carsfg fit` needs two classes of 4 or more images (--data.min_images)"]

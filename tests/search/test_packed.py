"""Byte strings in two arrays: they come back, and offsets that do not fit are refused."""

import numpy as np
import pytest

from carsfg.errors import InputError
from carsfg.search.packed import PackedBytes, Paths

WORDS = [b"one", b"", b"three"]


def test_each_comes_back() -> None:
    packed = PackedBytes.pack(WORDS)
    assert len(packed) == 3
    assert [packed[place] for place in range(3)] == WORDS
    assert packed.offsets.tolist() == [0, 3, 3, 8]
    assert list(packed.arrays("words")) == ["words.npy", "words_offsets.npy"]
    assert len(PackedBytes.pack([])) == 0


@pytest.mark.parametrize(
    "offsets", [[], [0], [0, 9], [1, 10], [0, 11], [0, 6, 5, 10], [0, -1, 10], [0, 99, 10], [0, 2**62, 10]]
)
def test_offsets_that_do_not_fit(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="its offsets do not fit its data"):
        PackedBytes(np.zeros(10, np.uint8), np.array(offsets, np.int64))


def test_paths_of_all_kinds_come_back() -> None:
    given = ["a/b.jpg", "caf\udce9/c.jpg", "\u00e9.jpg", "with space..jpg", ""]
    paths = Paths.pack(given)
    assert paths == given
    assert (paths[1], paths[-2], paths[1:3]) == (given[1], given[3], given[1:3])
    assert len(paths) == 5
    assert paths != [*given, "more"]
    with pytest.raises(IndexError):
        paths[5]


@pytest.mark.parametrize("path", ["../e.jpg", "a/../../e.jpg", "a\\..\\..\\e.jpg", ".."])
def test_paths_that_leave_the_folder(path: str) -> None:
    with pytest.raises(InputError, match="leaves its folder"):
        Paths.pack(["a.jpg", path])[1]

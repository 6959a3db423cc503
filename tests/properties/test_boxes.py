import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from carsfg.data.image_io import crop_photo
from carsfg.errors import InputError
from carsfg.search.car_box import active_box, to_pixels, widened
from tests.properties.strategies import few, sides

corners = st.integers(-3, 45)
shares = st.floats(0, 1)


@few
@given(sides, sides, st.tuples(corners, corners, corners, corners))
def test_a_cut_box_is_the_part_of_the_photo_or_is_refused(
    width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    x0, y0, x1, y1 = box
    if 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height:
        assert np.array_equal(np.asarray(crop_photo(Image.fromarray(pixels), box)), pixels[y0:y1, x0:x1])
    else:
        with pytest.raises(InputError, match=r"leaves the photo|no area"):
            crop_photo(Image.fromarray(pixels), box)


@few
@given(st.integers(1, 5000), st.integers(1, 5000), st.tuples(shares, shares, shares, shares))
def test_a_box_in_pixels_lies_inside_the_image(width: int, height: int, box: tuple[float, float, float, float]) -> None:
    x0, x1, y0, y1 = *sorted(box[::2]), *sorted(box[1::2])
    left, top, right, bottom = to_pixels((x0, y0, x1, y1), (width, height))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@few
@given(st.data(), st.integers(1, 5000), st.integers(1, 5000))
def test_pixels_to_shares_and_back(data: st.DataObject, width: int, height: int) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    assert to_pixels((x0 / width, y0 / height, x1 / width, y1 / height), (width, height)) == (x0, y0, x1, y1)


@few
@given(st.tuples(shares, shares, shares, shares), st.floats(0, 3))
def test_a_widened_box_holds_the_box(box: tuple[float, float, float, float], margin: float) -> None:
    x0, x1, y0, y1 = *sorted(box[::2]), *sorted(box[1::2])
    a, b, c, d = widened((x0, y0, x1, y1), margin)
    assert 0 <= a <= x0 <= x1 <= c <= 1
    assert 0 <= b <= y0 <= y1 <= d <= 1


@few
@given(st.lists(st.lists(st.floats(-2, 2), min_size=4, max_size=4), min_size=3, max_size=3), st.floats(-1, 1))
def test_the_active_box_holds_an_active_cell_or_is_the_whole_map(values: list[list[float]], threshold: float) -> None:
    cells = np.array(values)
    x0, y0, x1, y1 = active_box(cells, threshold)
    part = cells[round(y0 * 3) : round(y1 * 3), round(x0 * 4) : round(x1 * 4)]
    assert part.size
    assert (part >= threshold).any() or (part.shape == (3, 4) and not (cells >= threshold).any())

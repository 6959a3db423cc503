import math

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from carsfg.plots.neighbours import RIGHT, WRONG, Found, neighbour_figure

LONGEST = [  # of Stanford Cars
    "Bentley Continental Supersports Conv. Convertible 2012",
    "Rolls-Royce Phantom Drophead Coupe Convertible 2012",
    "Chevrolet Silverado 1500 Classic Extended Cab 2007",
    "Lamborghini Gallardo LP 570-4 Superleggera 2012",
    "HUMMER H3T Crew Cab 2010",  # the widest letters
    "AM General Hummer SUV 2000",
    "GMC Yukon Hybrid SUV 2012",
]


def grey(*values: int) -> npt.NDArray[np.uint8]:
    """Images of 4 x 4 pixels, each of one value."""
    return np.array(values, np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)


def found(right: list[bool], first: int = 0, name: str = "Audi TT", precision: float = 0.5) -> Found:
    """A query of value `first`, and neighbours of the values after it."""
    images = grey(*range(first, first + 1 + len(right)))
    return Found(images[0], name, precision, images[1:], [name if one else "Fiat 500" for one in right], right)


def frames(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_images_are_in_order_row_by_row() -> None:
    axes = neighbour_figure([found([True, False, True]), found([False], first=10)], "title").axes[0]
    values = [int(np.asarray(image.get_array())[0, 0, 0]) for image in axes.images]
    assert values == [0, 1, 2, 3, 10, 11]
    corners = [image.get_extent() for image in axes.images]  # left, right, bottom, top
    lefts = [corner[0] for corner in corners]
    assert lefts[:4] == sorted(set(lefts))
    assert lefts[4:] == lefts[:2]
    assert {corner[3] for corner in corners[:4]} == {corners[0][3]}
    assert corners[4][3] > corners[0][2]  # y grows downwards: the second row is below


def test_right_ones_are_green_and_wrong_ones_are_red_dashed_and_crossed() -> None:
    figure = neighbour_figure([found([True, False, True])], "title")
    query, *neighbours = frames(figure)
    colours = [RIGHT, WRONG, RIGHT]
    assert (RIGHT, WRONG) == ("tab:green", "tab:red")
    assert not any(same_color(query.get_edgecolor(), colour) for colour in colours)
    assert all(same_color(frame.get_edgecolor(), colour) for frame, colour in zip(neighbours, colours, strict=True))
    assert [frame.get_linestyle() == "solid" for frame in neighbours] == [True, False, True]
    assert [text for text in texts(figure) if len(text) == 1] == ["\u2713", "\u2717", "\u2713"]
    for frame, image in zip(frames(figure), figure.axes[0].images, strict=True):
        assert frame.get_x() == image.get_extent()[0]
        assert frame.get_y() == image.get_extent()[3]


def test_what_is_written() -> None:
    figure = neighbour_figure([found([True, False]), found([False], precision=math.nan)], "val: the best")
    written = texts(figure)
    assert written[0] == "val: the best"
    assert "AP 0.500\n1 of 2 right" in written
    assert "nothing\nto find" in written
    assert [text for text in written if text in ("Audi TT", "Fiat 500")] == [
        "Audi TT",
        "Audi TT",
        "Fiat 500",
        "Audi TT",
        "Fiat 500",
    ]


def test_a_name_beyond_three_lines_is_shortened() -> None:
    figure = neighbour_figure([found([True], name=" ".join(["Supersports"] * 9))], "title")
    assert "Supersports\nSupersports\nSupersports \u2026" in texts(figure)


def test_a_query_without_neighbours() -> None:
    assert len(neighbour_figure([found([])], "title").axes[0].images) == 1


@pytest.mark.parametrize("neighbours", [1, 8])
def test_long_names_lie_apart(neighbours: int) -> None:
    shown = grey(*range(neighbours + 1))
    rows = [
        Found(
            shown[0],
            name,
            0.5,
            shown[1:],
            [LONGEST[(place + n) % len(LONGEST)] for n in range(neighbours)],
            [False] * neighbours,
        )
        for place, name in enumerate(LONGEST)
    ]
    figure = neighbour_figure(rows, "test: the best")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    axes = figure.axes[0]
    boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts if len(text.get_text()) > 1]
    pictures = [("image", image.get_window_extent()) for image in axes.images]
    assert "Bentley Continental\nSupersports Conv.\nConvertible 2012" in texts(figure)
    width, height = canvas.get_width_height()
    if neighbours == 8:  # one is narrower than its title
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for _, box in boxes)
    assert overlaps(boxes + pictures) == []


def overlaps(boxes: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    pairs = [(one, other) for place, one in enumerate(boxes) for other in boxes[:place]]
    return [(one[0], other[0]) for one, other in pairs if one[1].padded(-0.5).overlaps(other[1])]

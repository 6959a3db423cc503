"""The box around what is active: from maps to boxes by hand, and in photos with a network that sees red."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from carsfg.data.photo import Photo
from carsfg.search import car_box
from carsfg.search.car_box import (
    BoxFinder,
    activation,
    active_box,
    connected,
    cut,
    resampled,
    shrink,
    to_pixels,
    widened,
)
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES
from tests.models.test_feature_map import swin, vit


def red_network(size: int = 32) -> CarCNN:
    """Its feature map is the mean redness, less green and blue, of squares of 4 pixels."""
    task = CarCNN(class_names=NAMES, widths=[1], image_size=size).eval()
    convolution = nn.Conv2d(3, 1, 4, stride=4, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4) / 16)
    task.backbone = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return task


def photo(size: tuple[int, int], car: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", size, "black")
    image.paste((255, 0, 0), car)
    return image


def iou(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    def area(x0: int, y0: int, x1: int, y1: int) -> int:
        return max(x1 - x0, 0) * max(y1 - y0, 0)

    corners = zip(one[:2], other[:2], strict=True), zip(one[2:], other[2:], strict=True)
    inside = area(*map(max, corners[0]), *map(min, corners[1]))
    return inside / (area(*one) + area(*other) - inside)


def test_activation_is_the_mean_of_positive_values() -> None:
    maps = torch.tensor([[[[4.0, -3.0]], [[2.0, 8.0]]]])  # two channels
    assert activation(maps).tolist() == [[[3.0, 4.0]]]


def test_maps_are_standardised_and_resampled() -> None:
    fine = resampled(torch.tensor([[[1.0, 3.0], [1.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]]), cells=4)
    assert fine[0].tolist() == [[-1.0, -0.5, 0.5, 1.0]] * 4
    assert fine[1].tolist() == [[0.0] * 4] * 4


def test_the_strongest_component_is_boxed() -> None:
    values = np.zeros((4, 8))
    values[0, 0:3] = 1.5  # three cells, 0.5 above the threshold each
    values[2:4, 5] = 3.0  # two cells, 2 above it each
    values[1, 4] = 1.0  # touches them by a corner only
    assert active_box(values, 1.0) == (5 / 8, 2 / 4, 6 / 8, 4 / 4)
    values[2, 4] = 1.0  # at the threshold: active, and shares an edge with both
    assert active_box(values, 1.0) == (4 / 8, 1 / 4, 6 / 8, 4 / 4)


def test_cells_are_connected_by_edges() -> None:
    active = np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0]], bool)
    parts = [sorted(zip(rows.tolist(), columns.tolist(), strict=True)) for rows, columns in connected(active)]
    assert parts == [[(0, 0), (1, 0)], [(0, 2), (0, 3), (1, 3), (2, 1), (2, 2), (2, 3)], [(3, 0)]]
    assert connected(np.zeros((2, 2), bool)) == []


def test_nothing_active_is_the_whole_photo() -> None:
    assert active_box(np.zeros((3, 3)), 0.9) == (0, 0, 1, 1)


def test_margins_are_clipped() -> None:
    assert widened((0.25, 0.5, 0.75, 1.0), 0.5) == (0.0, 0.25, 1.0, 1.0)
    assert widened((0.5, 0.5, 0.75, 0.75), 1.0) == (0.25, 0.25, 1.0, 1.0)


@pytest.mark.parametrize(
    ("box", "size", "pixels"),
    [
        ((0.25, 0.5, 0.75, 1.0), (100, 10), (25, 5, 75, 10)),
        ((0.5, 0.5, 0.5, 0.5), (100, 10), (50, 5, 51, 6)),
        ((1.0, 1.0, 1.0, 1.0), (100, 10), (99, 9, 100, 10)),
        ((0.0, 0.0, 1.0, 1.0), (1, 1), (0, 0, 1, 1)),
    ],
)
def test_pixels(box: car_box.Fractions, size: tuple[int, int], pixels: tuple[int, ...]) -> None:
    assert to_pixels(box, size) == pixels


def test_a_red_car_is_found() -> None:
    cars = [((200, 100), (20, 30, 90, 80)), ((80, 160), (10, 60, 70, 130)), ((33, 47), (3, 20, 28, 44))]
    found = BoxFinder(red_network()).find([photo(*one) for one in cars], batch_size=2)
    assert [iou(box, car) > 0.7 for box, (_, car) in zip(found, cars, strict=True)] == [True] * 3


def test_a_small_car_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of the width and the height; the second look is closer."""
    scene, car = photo((400, 400), (213, 147, 263, 197)), (213, 147, 263, 197)
    finder = BoxFinder(red_network())
    twice = iou(finder.find([scene])[0], car)
    monkeypatch.setattr(car_box, "SMALL_SHARE", 0.0)
    assert twice > iou(finder.find([scene])[0], car) + 0.1


def test_no_photos() -> None:
    assert BoxFinder(red_network()).find([]) == []


def test_a_network_without_maps_finds_no_box() -> None:
    task = red_network()
    task.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    assert not BoxFinder(task)
    assert BoxFinder(red_network())


def test_a_network_of_one_image_size_is_used_at_that() -> None:
    task = red_network()
    task.backbone = nn.Sequential(task.backbone[0], nn.Flatten(), nn.Linear(64, 1))  # type: ignore[index]
    assert BoxFinder(task).sizes == [32]
    assert BoxFinder(red_network()).sizes == [48, 64]


def test_large_photos_are_shrunk() -> None:
    large = shrink(Photo.of(Image.new("RGB", (4000, 1000))))
    assert (large.image.size, large.size) == ((1280, 320), (4000, 1000))
    small = Photo.of(Image.new("RGB", (1280, 9)))
    assert shrink(small) is small


def test_photos_are_cut_and_boxes_are_those_of_the_photo_given() -> None:
    """A photo of 2,560 pixels is looked at and cut at half its size."""
    scene = photo((2560, 1280), (1280, 640, 1920, 1280))
    ((part, box),) = cut(BoxFinder(red_network()), [Photo.of(scene)])
    assert box is not None
    assert iou(box, (1280, 640, 1920, 1280)) > 0.7
    assert part.size == ((box[2] - box[0]) // 2, (box[3] - box[1]) // 2)
    assert np.asarray(part)[..., 0].mean() > 180  # mostly red


def test_boxes_in_a_reduced_photo_are_those_of_the_file() -> None:
    """A file of 5,120 pixels that was decoded at half of that."""
    scene = photo((2560, 1280), (1280, 640, 1920, 1280))
    ((_, box),) = cut(BoxFinder(red_network()), [Photo(scene, (5120, 2560))])
    assert box is not None
    assert iou(box, (2560, 1280, 3840, 2560)) > 0.7


def test_a_photo_without_a_car_stays_whole() -> None:
    class Nothing:
        def find(self, photos: Sequence[Image.Image]) -> list[None]:
            return [None] * len(photos)

    ((part, box),) = cut(Nothing(), [Photo.of(Image.new("RGB", (30, 20)))])
    assert (part.size, box) == ((30, 20), None)


def test_tokens_of_transformers_find_no_car() -> None:
    """Maps with channels as their last dimension do."""
    task = CarCNN(class_names=NAMES, widths=[1], image_size=64).eval()
    task.backbone = vit()
    assert not BoxFinder(task)
    task.backbone = swin()
    finder = BoxFinder(task)
    assert finder.sizes == [64]  # it takes no other size
    assert len(finder.find([photo((90, 70), (20, 20, 50, 50))])) == 1

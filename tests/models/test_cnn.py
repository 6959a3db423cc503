"""The custom CNN: shapes, sizes of the report's networks, initialisation."""

from typing import Any

import pytest
import torch
from torch import nn

from carsfg.errors import InputError
from carsfg.models.cnn import CustomCNN, Unit

BASIC: dict[str, Any] = {"widths": (32, 64, 128), "batch_norm": False}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        (BASIC, 128),
        ({}, 256),
        ({"widths": [8, 16], "convolutions": 3, "residual": True}, 16),
        ({"widths": [8, 16], "stem": 2, "pooling": "max"}, 16),
        ({"widths": [8, 16], "stem": 4, "batch_norm": False, "residual": True}, 16),
        ({"widths": [8, 16], "pooling": "flatten"}, 16 * 8 * 8),
        ({"widths": [8, 16], "stem": 2, "pooling": "flatten"}, 16 * 4 * 4),
    ],
)
def test_images_become_embeddings(settings: dict[str, Any], width: int) -> None:
    network = CustomCNN(image_size=32, **settings)
    assert network.width == width
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, width)


def test_sizes_of_the_report_s_networks() -> None:
    weights = 9 * (3 * 32 + 32 * 64 + 64 * 128)
    assert count(CustomCNN(**BASIC)) == weights + 32 + 64 + 128  # and a bias a channel
    assert count(CustomCNN()) == weights + 9 * 128 * 256 + 2 * (32 + 64 + 128 + 256)  # BatchNorm instead


def test_a_block_by_hand() -> None:
    """Twice the input, then ReLU, then the maximum of each 2 x 2."""
    network = CustomCNN(widths=[1], batch_norm=False, pooling="flatten", image_size=4)
    layer = network.get_submodule("blocks.0.convolutions.0")
    assert isinstance(layer, nn.Conv2d)
    nn.init.zeros_(layer.weight)
    layer.weight.data[0, :, 1, 1] = torch.tensor([2, 0, 0])
    image = torch.tensor([[1.0, -2, 3, 0], [0, -1, 5, 1], [-1, -1, 0, 0], [-3, -1, 0, -7]])
    assert network(image.expand(1, 3, 4, 4)).flatten().tolist() == [2, 10, 0, 0]


def test_a_shortcut_adds_what_comes_in() -> None:
    unit = Unit(2, 2, 2, batch_norm=False, residual=True)
    for layer in unit.convolutions:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    image = torch.tensor([1.0, -2]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert torch.equal(unit(image), image.relu())


def test_a_shortcut_changes_the_width_where_it_must() -> None:
    same, wider = (Unit(8, width, 1, batch_norm=False, residual=True) for width in (8, 16))
    assert count(same) == 9 * 8 * 8 + 8
    assert count(wider) == 9 * 8 * 16 + 16 + 8 * 16 + 16


def test_units_follow_each_other_before_a_block_ends() -> None:
    network = CustomCNN(widths=[8, 16, 16], units=[1, 2, 1], residual=True, image_size=32)
    assert [type(layer).__name__ for layer in network.blocks] == [
        "Unit",
        "MaxPool2d",
        "Unit",
        "Unit",
        "MaxPool2d",
        "Unit",
    ]
    assert [type(layer).__name__ for layer in CustomCNN(widths=[8, 8], units=2).blocks] == [
        "Unit",
        "Unit",
        "MaxPool2d",
        "Unit",
        "Unit",
    ]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("average", [2.5, 0.25]), ("max", [4, 1]), ("flatten", [1, 2, 3, 4, 0, 0, 0, 1])],
)
def test_pooling(pooling: Any, expected: list[float]) -> None:
    network = CustomCNN(widths=[2], pooling=pooling, image_size=4)
    network.blocks = nn.Sequential()
    maps = torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 1]]).view(1, 2, 2, 2)
    assert network(maps).flatten().tolist() == expected


def test_he_initialisation() -> None:
    """Normal, with variance 2 / fan-out (He et al. 2015); biases at zero."""
    torch.manual_seed(0)
    network = CustomCNN(widths=(64, 128), convolutions=2, batch_norm=False)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx((2 / (9 * layer.out_channels)) ** 0.5, rel=0.05)
        assert layer.bias is not None
        assert not layer.bias.any()
    default = CustomCNN(widths=(64,), batch_norm=False, he_init=False).blocks.get_submodule("0.convolutions.0")
    assert isinstance(default, nn.Conv2d)
    assert default.weight.abs().max() <= 27**-0.5  # PyTorch's own: uniform within 1 / sqrt(fan-in)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": []}, "widths, as many units, convolutions and a stem, all"),
        ({"convolutions": 0}, "widths, as many units, convolutions and a stem, all"),
        ({"units": [1, 2]}, "widths, as many units, convolutions and a stem, all"),
        ({"stem": 0}, "widths, as many units, convolutions and a stem, all"),
        ({"widths": [8] * 7, "image_size": 32}, "images of 32 pixels are too small for 7 blocks"),
    ],
)
def test_networks_that_cannot_be_built(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CustomCNN(**settings)

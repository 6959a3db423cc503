"""The last feature map: which networks have one, and which tensor it is."""

import pytest
import torch
from torch import nn

from carsfg.models.backbones import build_backbone
from carsfg.models.feature_map import keep_last_map

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("resnet18", (2, 512, 2, 2)), ("mobilenet_v2", (2, 1280, 2, 2)), ("timm:convnext_atto", (2, 320, 2, 2)),
     ("custom_cnn", (2, 256, 8, 8))],
)  # fmt: skip
def test_the_map_of_a_convolutional_network(name: str, shape: tuple[int, ...]) -> None:
    backbone = build_backbone(name)[0].eval()
    with torch.no_grad(), keep_last_map(backbone) as maps:
        backbone(IMAGES)
    assert [tuple(one.shape) for one in maps] == [shape]


def test_it_is_the_last_one_and_has_its_graph() -> None:
    convolution = nn.Conv2d(3, 5, 4, stride=4)
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with keep_last_map(network) as maps:
        network(IMAGES)
    torch.testing.assert_close(maps[0], convolution(IMAGES).relu())
    assert maps[0].requires_grad


def test_transformers_and_networks_without_maps_have_none() -> None:
    transformer = build_backbone("timm:vit_tiny_patch16_224")[0].eval()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))
    for network in (transformer, plain):
        with torch.no_grad(), keep_last_map(network) as maps:
            network(IMAGES)
        assert maps == []


def test_hooks_are_removed() -> None:
    network = build_backbone("resnet18")[0].eval()
    with keep_last_map(network):
        pass
    assert all(not module._forward_hooks for module in network.modules())

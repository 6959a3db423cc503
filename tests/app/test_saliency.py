"""Heat maps: contributions add up to the similarity and are at the right place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from carsfg.app.saliency import heat_map, overlay
from carsfg.models.backbones import build_backbone
from carsfg.tasks.base import CarsTask
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.conftest import NAMES
from tests.models.test_feature_map import swin, torchvision_vit, vit

PLAIN: dict[str, Any] = {"class_names": NAMES, "image_size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)}
CUSTOM: dict[str, Any] = {"backbone": "custom_cnn", "backbone_args": {"widths": [8, 16]}}


def extractor(**kwargs: Any) -> EmbeddingExtractor:
    torch.manual_seed(0)
    return EmbeddingExtractor(class_names=NAMES, weights=None, **{"image_size": 32, **CUSTOM, **kwargs}).eval()


def photo(size: int = 32) -> Tensor:
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def similarity(task: CarsTask, pixels: Tensor, target: Tensor) -> float:
    with torch.no_grad():
        return float(functional.cosine_similarity(task.embed({"image": pixels[None]}), target[None]))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("projection", [None, 5])
@pytest.mark.parametrize("pooling", ["average", "max", "gem"])
def test_contributions_add_up_to_the_similarity(pooling: Any, projection: int | None, normalize: bool) -> None:
    """Exact if the projection has no bias."""
    task = extractor(pooling=pooling, projection=projection, normalize=normalize)
    if projection is not None:
        nn.init.zeros_(task.get_parameter("projection.bias"))
    target = torch.randn(projection or 16, generator=torch.Generator().manual_seed(2))
    heat = heat_map(task, photo(), target)
    assert heat is not None
    assert heat.shape == (16, 16)
    assert float(heat.sum()) == pytest.approx(similarity(task, photo(), target), abs=1e-4)


def test_a_bias_belongs_to_no_region() -> None:
    """Its part of the similarity, bias . target / lengths, is missing in the contributions."""
    task = extractor(projection=5)
    target, bias = (
        torch.randn(5, generator=torch.Generator().manual_seed(2)),
        task.get_parameter("projection.bias").detach(),
    )
    with torch.no_grad():
        length = task.embed({"image": photo()[None]}).norm()
    heat, missing = heat_map(task, photo(), target), float(bias @ functional.normalize(target, dim=0) / length)
    assert heat is not None
    assert abs(missing) > 0.01
    assert float(heat.sum()) + missing == pytest.approx(similarity(task, photo(), target), abs=1e-4)


@pytest.mark.parametrize(
    ("backbone", "pooling"), [("resnet18", None), ("resnet18", "gem"), ("mobilenet_v2", None), ("mobilenet_v2", "max")]
)
def test_networks_of_torchvision(backbone: str, pooling: Any) -> None:
    """Also if a function is applied to the last feature maps."""
    task = extractor(backbone=backbone, backbone_args=None, pooling=pooling, image_size=64)
    with torch.no_grad():
        target = task.embed({"image": photo(64).flip(2)[None]})[0]
    heat = heat_map(task, photo(64), target)
    assert heat is not None
    assert heat.shape == (2, 2)
    assert float(heat.sum()) == pytest.approx(similarity(task, photo(64), target), abs=1e-4)


@pytest.mark.parametrize("pooling", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_a_corner_by_hand(pooling: nn.Module) -> None:
    """Mean colours of 8 x 8 squares: red in one corner, green in another, and only red is asked for."""
    task = CarCNN(widths=[3], **PLAIN).eval()
    task.backbone = nn.Sequential(nn.AvgPool2d(8), pooling, nn.Flatten())
    pixels = torch.zeros(3, 32, 32, dtype=torch.uint8)
    pixels[0, :8, 24:] = 255
    pixels[1, 24:, :8] = 255
    heat = heat_map(task, pixels, torch.tensor([3.0, 0, 0]))
    expected = torch.zeros(4, 4)
    expected[0, 3] = 0.5**0.5  # of an embedding as red as green
    torch.testing.assert_close(heat, expected)
    against = heat_map(task, pixels, torch.tensor([0, -1.0, 0]))
    assert against is not None
    assert against.nonzero().tolist() == [[3, 0]]
    assert float(against.min()) == pytest.approx(-(0.5**0.5))


SMALL: dict[str, Callable[[int], nn.Module]] = {
    "vit": vit,
    "vit with registers": lambda size: vit(size, reg_tokens=4),
    "vit with registers, averaged": lambda size: vit(size, reg_tokens=4, global_pool="avg"),
    "torchvision's vit": torchvision_vit,
    "swin": lambda _: swin(),
}


def with_backbone(name: str, size: int) -> CarsTask:
    """A task with the backbone of that name; grey images are 0 after preprocessing."""
    torch.manual_seed(0)
    grey: Any = {"image_size": size, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    task = CarCNN(widths=[3], **PLAIN | grey).eval()
    if name in SMALL:
        task.backbone = SMALL[name](size)
    else:
        task.backbone = build_backbone(name)[0].eval()
    return task


def patch(size: int, row: int, column: int, side: int) -> Tensor:
    """A grey image with a square of noise."""
    pixels = torch.full((3, size, size), 128, dtype=torch.uint8)
    pixels[:, row : row + side, column : column + side] = photo(side)
    return pixels


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("resnet18", 160), ("timm:test_resnet", 320), ("timm:test_convnext", 320), ("timm:test_convnext2", 320),
     ("timm:test_maxvit", 160), ("timm:test_vit", 160), ("timm:test_vit2", 160), ("timm:test_vit3", 160),
     ("timm:test_vit_relpos", 160), ("vit", 160), ("vit with registers", 160), ("vit with registers, averaged", 160),
     ("torchvision's vit", 160), ("swin", 64)],
)  # fmt: skip
def test_the_one_patch_that_says_something(backbone: str, size: int) -> None:
    """The target is what the patch adds to the embedding of a grey image: the hottest place is in the patch."""
    task, side, right = with_backbone(backbone, size), size // (4 if size == 64 else 5), 0
    ends = size - side
    places = [(0, 0), (0, ends), (ends, side), (side, ends - side), (2 * side, 2 * side)]
    for row, column in places:
        pixels = patch(size, row, column, side)
        with torch.no_grad():
            whole, grey = task.embed({"image": torch.stack([pixels, torch.full_like(pixels, 128)])})
        heat = heat_map(task, pixels, whole - grey)
        assert heat is not None
        y, x = (int(one) + 0.5 for one in divmod(int(heat.argmax()), heat.shape[1]))
        cell = size / heat.shape[0]
        right += row <= y * cell < row + side and column <= x * cell < column + side
    assert right >= 4


@pytest.mark.parametrize(("backbone", "size"), [("timm:test_convnext", 64), ("timm:test_vit2", 160), ("swin", 64)])
def test_contributions_add_up_through_layer_normalisation(backbone: str, size: int) -> None:
    task = with_backbone(backbone, size)
    with torch.no_grad():
        target = task.embed({"image": photo(size).flip(2)[None]})[0]
    heat = heat_map(task, photo(size), target)
    assert heat is not None
    assert float(heat.sum()) == pytest.approx(similarity(task, photo(size), target), abs=1e-3)


def test_a_network_without_feature_maps() -> None:
    task = CarCNN(widths=[3], **PLAIN).eval()
    task.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7))
    assert heat_map(task, photo(), torch.ones(7)) is None


def test_it_leaves_the_network_as_it_was() -> None:
    task = extractor()
    before = similarity(task, photo(), torch.ones(16))
    heat_map(task, photo(), torch.ones(16))
    assert all(not module._forward_hooks for module in task.modules())
    assert all(parameter.grad is None for parameter in task.parameters())
    assert similarity(task, photo(), torch.ones(16)) == before


def test_positive_contributions_glow() -> None:
    grey, heat = Image.new("RGB", (80, 40), (90, 90, 90)), torch.zeros(4, 4)
    heat[0, 3], heat[3, 0] = 0.7, -0.7
    shown = np.asarray(overlay(grey, heat)).astype(int)
    assert shown.shape == (40, 80, 3)
    assert np.ptp(shown[2, -3]) > 100  # a colour
    assert shown[2, -3].argmax() == 0  # which is warm
    assert np.ptp(shown[-3, 2]) == 0


@pytest.mark.parametrize("heat", [torch.zeros(3, 3), -torch.ones(3, 3)])
def test_without_positive_contributions_nothing_glows(heat: Tensor) -> None:
    shown = np.asarray(overlay(Image.new("RGB", (9, 9), (90, 90, 90)), heat))
    assert (shown == 90).all()

"""The last feature map: which networks have one, and which tensor it is."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from carsfg.models.backbones import build_backbone
from carsfg.models.feature_map import keep_last_map

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("resnet18", (2, 512, 2, 2)), ("mobilenet_v2", (2, 1280, 2, 2)), ("timm:convnext_atto", (2, 320, 2, 2)),
     ("custom_cnn", (2, 256, 8, 8)), ("timm:test_mambaout", (2, 64, 2, 2)),
     ("timm:test_vit", (2, 64, 4, 4)), ("timm:test_vit3", (2, 96, 4, 4)),
     ("timm:xcit_nano_12_p16_224", (2, 128, 4, 4))],
)  # fmt: skip
def test_the_shape_of_the_map(name: str, shape: tuple[int, ...]) -> None:
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


def test_all_branches_of_a_block_are_in_it() -> None:
    """GoogLeNet joins four branches, of which the last one alone would be 128 wide."""
    network = build_backbone("googlenet")[0].eval()
    with torch.no_grad(), keep_last_map(network) as maps:
        features = network(IMAGES)
    torch.testing.assert_close(maps[0].mean((2, 3)), features)


def vit(size: int = 64, **kwargs: Any) -> nn.Module:
    """A small vision transformer of timm with random weights and patches of 16 pixels."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"img_size": size, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
    network: nn.Module = timm.create_model("vit_tiny_patch16_224", **small | kwargs)
    return network.eval()


def torchvision_vit(size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = VisionTransformer(size, 16, 2, 2, 32, 64).eval()
    network.heads = nn.Identity()
    return network


def swin() -> nn.Module:
    """Maps (B, 2, 2, 64), channels last."""
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "img_size": 64,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1, 1),
        "num_heads": (1, 2, 4),
    }
    network: nn.Module = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **small)
    return network.eval()


def torchvision_swin() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = SwinTransformer([4, 4], 16, [1, 1, 1], [1, 2, 4], [4, 4]).eval()
    network.head = nn.Identity()
    return network


@pytest.mark.parametrize(("registers", "prefix"), [(0, 1), (4, 5)])
@pytest.mark.parametrize("pool", ["avg", "token"])
def test_tokens_of_patches_become_a_grid(pool: str, registers: int, prefix: int) -> None:
    """Row by row; before the last block if the class token alone is used, after it otherwise."""
    network, seen = vit(reg_tokens=registers, global_pool=pool), []
    place = -1 if pool == "avg" else -2
    hook = network.blocks[place].register_forward_hook(lambda *given: seen.append(given[2]))  # type: ignore[index, union-attr]
    with torch.no_grad(), keep_last_map(network) as maps:
        network(IMAGES)
    hook.remove()
    assert maps[0].shape == (2, 32, 4, 4)
    assert torch.equal(maps[0][:, :, 1, 2], seen[0][:, prefix + 6])
    assert torch.equal(maps[0][:, :, 0, 0], seen[0][:, prefix])


def test_tokens_of_torchvision() -> None:
    network, seen = torchvision_vit(), []
    network.encoder.layers[0].register_forward_hook(lambda *given: seen.append(given[2]))  # type: ignore[index, union-attr]
    with torch.no_grad(), keep_last_map(network) as maps:
        network(IMAGES)
    assert torch.equal(maps[0].flatten(2), seen[0][:, 1:].transpose(1, 2))


@pytest.mark.parametrize("make", [swin, torchvision_swin])
def test_channels_may_be_the_last_dimension(make: Any) -> None:
    network = make()
    with torch.no_grad(), keep_last_map(network) as maps:
        features = network(IMAGES)
    assert maps[0].shape == (2, 64, 4, 4)
    torch.testing.assert_close(maps[0].mean((2, 3)), features)


def test_a_map_with_as_many_rows_as_channels() -> None:
    """Only the network says which dimension is which."""

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images[:, :, :3, :3]).mean((2, 3))  # type: ignore[no-any-return]

    network, corner = Same(), IMAGES[:, :, :3, :3]
    with keep_last_map(network) as maps:
        network(IMAGES)
    assert torch.equal(maps[0], corner)
    network.output_fmt = "NHWC"  # type: ignore[assignment]
    with keep_last_map(network) as maps:
        network(IMAGES)
    assert torch.equal(maps[0], corner.permute(0, 3, 1, 2))


@pytest.mark.parametrize("make", [vit, lambda: vit(global_pool="avg", reg_tokens=2), torchvision_vit, swin])
def test_the_network_goes_on_with_the_map(make: Any) -> None:
    """Its output is the same, and depends on each place of the map."""
    network = make()
    expected = network(IMAGES)
    with keep_last_map(network) as maps:
        features = network(IMAGES)
    torch.testing.assert_close(features, expected, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(features[:, 0].sum(), maps)
    assert bool((gradient.abs().sum(1) > 0).all())


def test_networks_without_maps_have_none() -> None:
    """Of attention weights and of tokens in an unknown order, the last tensors with four dimensions are no maps."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights, self.out = nn.Dropout(0), nn.Linear(16, 16)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.out(self.weights(tokens @ tokens.mT) @ tokens)  # type: ignore[no-any-return]

    attention = nn.Sequential(nn.Conv2d(3, 16, 16, stride=16), nn.Flatten(2), nn.Unflatten(1, (1, 16)), Attention())
    tokens = nn.Sequential(*attention, nn.Flatten(1, 2), nn.Flatten())
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))
    for network in (tokens, plain):
        with torch.no_grad(), keep_last_map(network) as maps:
            network(IMAGES)
        assert maps == []
    with torch.no_grad(), keep_last_map(vit(), token_grids=False) as maps:
        vit()(IMAGES)
    assert maps == []


def test_blocks_that_take_more_than_tokens() -> None:
    """The other inputs reach the last block; parts of images, of which there are more than images, are no map."""

    class Block(nn.Module):
        def forward(self, tokens: Tensor, factor: float) -> Tensor:
            return tokens * factor

    class Transformer(nn.Module):
        num_prefix_tokens = 0

        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block()])

        def forward(self, images: Tensor) -> Tensor:
            return self.blocks[0](images.flatten(2).mT, 2.0).mean(1)  # type: ignore[no-any-return]

    class OfParts(Transformer):
        def forward(self, images: Tensor) -> Tensor:
            return self.blocks[0](images.flatten(0, 1), 1.0).mean(2)  # type: ignore[no-any-return]

    network: nn.Module = Transformer()
    with keep_last_map(network) as maps:
        torch.testing.assert_close(network(IMAGES), 2 * IMAGES.mean((2, 3)))
    assert torch.equal(maps[0], IMAGES)
    network = OfParts()
    with keep_last_map(network) as maps:
        network(IMAGES)
    assert maps == []


def test_the_map_of_earlier_images_is_forgotten() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.Flatten())
    with torch.no_grad(), keep_last_map(network) as maps:
        network(IMAGES)
        network(IMAGES[:, :, :4, :4])
    assert maps == []


def test_hooks_are_removed() -> None:
    network = build_backbone("resnet18")[0].eval()
    with keep_last_map(network):
        pass
    assert all(not module._forward_hooks for module in network.modules())

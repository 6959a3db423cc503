"""Pooling by hand, and in the networks that have one to replace."""

import contextlib

import pytest
import torch

from carsfg.errors import InputError
from carsfg.models.backbones import build_backbone
from carsfg.models.pooling import GeneralizedMean, PooledFeatures, make_pooling, refuse_negative_maps

MAPS = torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 2]]).view(1, 2, 2, 2)


def test_average_and_max() -> None:
    assert make_pooling("average")(MAPS).flatten().tolist() == [2.5, 0.5]
    assert make_pooling("max")(MAPS).flatten().tolist() == [4, 2]


def test_generalised_mean() -> None:
    cubes = make_pooling("gem")(MAPS).flatten().tolist()
    assert cubes == pytest.approx([(100 / 4) ** (1 / 3), (8 / 4) ** (1 / 3)])
    assert GeneralizedMean(1.0)(MAPS).flatten().tolist() == pytest.approx([2.5, 0.5], abs=1e-5)
    assert GeneralizedMean(50.0)(MAPS)[0, 0].item() == pytest.approx(4, rel=0.03)


def test_the_exponent_learns() -> None:
    pool = GeneralizedMean()
    pool(MAPS).sum().backward()
    assert pool.exponent.grad is not None
    assert pool.exponent.grad > 0  # more of it brings both nearer to their maximum


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0"])
def test_networks_take_another_pooling(name: str) -> None:
    torch.manual_seed(0)
    plain, width = build_backbone(name)
    torch.manual_seed(0)
    average, _ = build_backbone(name, pooling="gem")
    images = torch.rand(2, 3, 64, 64)
    exponents = [module for module in average.modules() if isinstance(module, GeneralizedMean)]
    assert len(exponents) == 1
    exponents[0].exponent.data.fill_(1.0)  # the average again
    torch.testing.assert_close(average.eval()(images), plain.eval()(images), rtol=1e-3, atol=1e-4)
    added = set(average.state_dict()) - set(plain.state_dict())
    assert added == {"avgpool.exponent"}
    assert set(plain.state_dict()) <= set(average.state_dict())
    assert build_backbone(name, pooling="max")[0](images).shape == (2, width)


def test_a_network_without_an_average_over_whole_maps() -> None:
    with pytest.raises(InputError, match=r"the pooling of a AlexNet cannot be replaced: set model\.pooling: null"):
        build_backbone("alexnet", pooling="max")


def test_features_pass_a_relu_before_they_are_pooled() -> None:
    """DenseNet's end in BatchNorm, so whole maps may be negative."""
    maps = torch.tensor([[-3.0, -1, -2, -4], [1, -2, 3, -4]]).view(1, 2, 2, 2)
    assert PooledFeatures(torch.nn.Identity(), make_pooling("max"))(maps).tolist() == [[0, 3]]
    assert PooledFeatures(torch.nn.Identity(), make_pooling("average"))(maps).tolist() == [[0, 1]]


@pytest.mark.parametrize(("lowest", "refused"), [(0.0, False), (-0.25, True)])
def test_maps_are_looked_at_before_gem(lowest: float, refused: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Identity(), GeneralizedMean())
    maps = torch.tensor([lowest, 1, 2, 3]).view(1, 1, 2, 2)
    context = pytest.raises(InputError, match="'net' have negative values") if refused else contextlib.nullcontext()
    with context, refuse_negative_maps(network, "net"):
        network(maps)
    network(-maps)  # nothing watches any longer


def test_without_gem_maps_may_be_negative() -> None:
    network = torch.nn.Sequential(make_pooling("max"))
    with refuse_negative_maps(network, "net"):
        network(-MAPS)

"""Layer normalisation with constant scales: the same outputs, and gradients that add up."""

from typing import Any

import pytest
import torch
import torchvision
from timm.layers.norm import LayerNorm, LayerNorm2d, RmsNorm
from torch import Tensor, nn

from carsfg.models.constant_scales import constant_scales

LAST = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
MAPS = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))


def contributions(layer: nn.Module, values: Tensor) -> Tensor:
    """The sum of values times their gradient, for the sum of squares' direction at the output."""
    values = values.clone().requires_grad_()
    output = layer(values)
    (gradient,) = torch.autograd.grad((output * output.detach()).sum(), values)
    return (gradient * values.detach()).sum()


@pytest.mark.parametrize(
    ("layer", "values"),
    [
        (nn.LayerNorm(8), LAST),
        (nn.LayerNorm(8, elementwise_affine=False), LAST),
        (LayerNorm(8), LAST),
        (LayerNorm2d(8), MAPS),
        (torchvision.models.convnext.LayerNorm2d(8), MAPS),
        (nn.RMSNorm(8), LAST),
        (RmsNorm(8), LAST),
    ],
)
def test_contributions_add_up(layer: Any, values: Tensor) -> None:
    if getattr(layer, "weight", None) is not None:
        nn.init.uniform_(layer.weight, 0.5, 2, generator=torch.Generator().manual_seed(1))
    plain = layer(values).detach()
    assert float(contributions(layer, values)) == pytest.approx(0, abs=0.02)
    with constant_scales(nn.Sequential(layer)):
        torch.testing.assert_close(layer(values), plain)
        assert float(contributions(layer, values)) == pytest.approx(float(plain.square().sum()), rel=1e-4)
    assert not layer._forward_hooks


def test_what_a_layer_adds_is_kept() -> None:
    layer = nn.LayerNorm(8)
    nn.init.ones_(layer.bias)
    with constant_scales(layer):
        torch.testing.assert_close(layer(LAST), nn.functional.layer_norm(LAST, [8]) + 1)


@pytest.mark.parametrize("layer", [nn.LayerNorm([5, 8]), nn.BatchNorm1d(5)])
def test_other_layers_are_left_as_they_are(layer: nn.Module) -> None:
    plain = layer.eval()(LAST)
    with constant_scales(layer):
        assert torch.equal(layer(LAST), plain)


def test_a_layer_that_computes_something_else_is_left_as_it_is() -> None:
    class Doubled(nn.LayerNorm):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2 * super().forward(input)

    layer = Doubled(8)
    with constant_scales(layer):
        torch.testing.assert_close(layer(LAST), 2 * nn.functional.layer_norm(LAST, [8]))

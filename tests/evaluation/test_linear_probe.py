"""The linear probe is scikit-learn's logistic regression, and its penalty is chosen on what was held out."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from carsfg.evaluation.linear_probe import DEFAULT_STRENGTH, STRENGTHS, LinearProbe, select_strength


def clouds(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points (N, 12) round 5 centres, on scales from 1 to 1,000, and their labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (count,), generator=draw)
    centres = torch.randn(5, 12, generator=torch.Generator().manual_seed(99))
    return (centres[labels] + 1.5 * torch.randn(count, 12, generator=draw)) * torch.logspace(0, 3, 12), labels


def test_one_linear_layer_gives_its_logits() -> None:
    points, labels = clouds(200)
    points[:, 3] = 7.0  # does not vary, so it is not scaled
    probe = LinearProbe.fit(points, labels, 5, 0.01)
    weight, bias = probe.as_layer()
    assert (weight.dtype, bias.dtype, weight.shape) == (torch.float32, torch.float32, (5, 12))
    torch.testing.assert_close(functional.linear(points, weight, bias), probe(points), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_as_scikit_learn_does(strength: float) -> None:
    (points, labels), (others, truth) = clouds(200), clouds(500, seed=1)
    probe = LinearProbe.fit(points, labels, 5, strength)
    their = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (200 * strength), tol=1e-8, max_iter=10_000))
    their.fit(points.numpy(), labels.numpy())
    expected = torch.from_numpy(their.predict_proba(others.numpy())).float()
    torch.testing.assert_close(probe(others).softmax(1), expected, rtol=0, atol=5e-3)
    accuracy = (probe(others).argmax(1) == truth).float().mean()
    assert float(accuracy) == pytest.approx(their.score(others.numpy(), truth.numpy()), abs=0.005)


def test_a_good_start_changes_nothing_but_the_time() -> None:
    points, labels = clouds(200)
    start = LinearProbe.fit(points, labels, 5, 1.0)
    again = LinearProbe.fit(points, labels, 5, 0.1, start)
    torch.testing.assert_close(again(points), LinearProbe.fit(points, labels, 5, 0.1)(points), rtol=0, atol=5e-3)


def test_dimensions_that_do_not_differ_do_no_harm() -> None:
    points, labels = clouds(200)
    flat = torch.cat([points, torch.full((200, 2), 7.0)], 1)
    expected = LinearProbe.fit(points, labels, 5, 0.1)(points)
    torch.testing.assert_close(LinearProbe.fit(flat, labels, 5, 0.1)(flat), expected, rtol=0, atol=5e-3)


def test_the_strength_is_the_one_that_tells_most_held_out_images() -> None:
    points, labels = clouds(120)
    held = torch.arange(120) % 3 == 0
    right = []
    for strength in STRENGTHS:
        probe = LinearProbe.fit(points[~held], labels[~held], 5, strength)
        right.append(int((probe(points[held]).argmax(1) == labels[held]).sum()))
    assert select_strength(points, labels, held, 5) == STRENGTHS[right.index(max(right))]
    assert len(set(right)) > 1


def test_of_equally_good_strengths_the_strongest() -> None:
    labels = torch.arange(40) % 2
    points = labels[:, None] * 10 + torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    assert select_strength(points, labels, torch.arange(40) < 10, 2) == max(STRENGTHS)


@pytest.mark.parametrize("held", [torch.zeros(30, dtype=torch.bool), torch.ones(30, dtype=torch.bool)])
def test_nothing_to_choose_on(held: Tensor) -> None:
    assert select_strength(*clouds(30), held, 5) == DEFAULT_STRENGTH

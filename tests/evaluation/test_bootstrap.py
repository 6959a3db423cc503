"""Bootstrap intervals: by hand, against scipy's, and what they must not depend on."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from carsfg.evaluation.bootstrap import intervals


def test_by_hand() -> None:
    # of two queries, a quarter of the resamples are 0 0, a half 0 1, a quarter 1 1; a certain figure stays as it is
    values = torch.tensor([[0.0, 0.3], [1.0, 0.3]])
    assert intervals(values).tolist() == [pytest.approx([0.5, 0.3]), pytest.approx([0, 0.3]), pytest.approx([1, 0.3])]


def test_shares_spread_as_the_normal_approximation_says() -> None:
    mean, low, high = intervals(torch.arange(400)[:, None] % 2)[:, 0].tolist()
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.005)  # 1.96 sqrt(.25 / 400) = .049


def test_as_scipy_does() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    their = bootstrap([values], np.mean, n_resamples=5000, method="percentile")
    mean, low, high = intervals(torch.from_numpy(values)[:, None])[:, 0].tolist()
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(their.confidence_interval), abs=0.03)


def test_all_figures_are_of_the_same_draws_every_time() -> None:
    right = torch.rand(50, generator=torch.Generator().manual_seed(0))
    once = intervals(torch.stack([right, 1 - right], 1))
    torch.testing.assert_close(once[1:, 0], 1 - once[1:, 1].flip(0))
    assert torch.equal(once, intervals(torch.stack([right, 1 - right], 1)))


def test_without_queries_there_is_no_figure() -> None:
    assert intervals(torch.zeros(0, 2)).isnan().all()

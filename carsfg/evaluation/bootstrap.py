"""Intervals: how far a mean over queries would move with other queries of the same kind."""

import numpy as np
import torch
from torch import Tensor

RESAMPLES, SHARE, SEED = 1000, 0.95, 0


def intervals(values: Tensor) -> Tensor:
    """Return mean, low and high end of each figure, float64 (3, M): percentile-bootstrap intervals of 95 %.

    1,000 times, as many queries are drawn as there are, with replacement, the same for all figures; an interval goes
    from the 2.5th to the 97.5th percentile of their means. It speaks of the queries alone: network, gallery and
    classes stay as they are. Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        values: (Q, M), of each query.

    Returns:
        The three rows; not a number without any query.
    """
    values = values.double().cpu()
    count = len(values)
    if not count:
        return torch.full((3, values.shape[1]), torch.nan, dtype=torch.float64)
    random = np.random.default_rng(SEED)
    times = random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # how often each query is drawn
    means = torch.from_numpy(times).double() @ values / count
    ends = torch.tensor([(1 - SHARE) / 2, (1 + SHARE) / 2], dtype=torch.float64)
    return torch.cat([values.mean(0, keepdim=True), torch.quantile(means, ends, dim=0)])

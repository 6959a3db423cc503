"""Bootstrap intervals: by hand, against scipy's, and what they must not depend on."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap
from torch import Tensor

from carsfg.evaluation import bootstrap
from carsfg.evaluation.bootstrap import intervals, joint_intervals
from carsfg.retrieval.ranking import EmbeddedImages, search

SCORES = {"top_1": 1, "top_3": 3, "precision_3": 3, "r_precision": 0, "map_at_r": 0, "map": 0}


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
    their = scipy_bootstrap([values], np.mean, n_resamples=5000, method="percentile")
    mean, low, high = intervals(torch.from_numpy(values)[:, None])[:, 0].tolist()
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(their.confidence_interval), abs=0.03)


def test_all_figures_are_of_the_same_sample_counts_every_time() -> None:
    right = torch.rand(50, generator=torch.Generator().manual_seed(0))
    once = intervals(torch.stack([right, 1 - right], 1))
    torch.testing.assert_close(once[1:, 0], 1 - once[1:, 1].flip(0))
    assert torch.equal(once, intervals(torch.stack([right, 1 - right], 1)))


def test_without_queries_there_is_no_figure() -> None:
    assert intervals(torch.zeros(0, 2)).isnan().all()


def images(seed: int, count: int = 300, classes: int = 20) -> tuple[Tensor, Tensor]:
    """Points (N, 6) around fixed centres, and their classes."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    centres = torch.randn(classes, 6, generator=torch.Generator().manual_seed(99))
    return centres[labels] + 0.6 * torch.randn(count, 6, generator=draw), labels


def values_of(points: Tensor, labels: Tensor) -> Tensor:
    found = search(EmbeddedImages(points, labels, torch.arange(len(labels))), None, [1, 3], [1], "euclidean")
    return torch.stack([found.by_query[name].double() for name in SCORES], 1)


def copied(points: Tensor, labels: Tensor, times: Tensor) -> list[float]:
    """Scores of a resample by the definitions: a gallery that really holds the copies, less those of the query."""
    place = torch.repeat_interleave(torch.arange(len(times)), times)
    sums, queries = torch.zeros(len(SCORES), dtype=torch.float64), 0
    for query in place.tolist():
        others = place[place != query]
        nearest = others[(points[others] - points[query]).norm(dim=1).argsort(stable=True)]
        right = labels[nearest] == labels[query]
        count = int(right.sum())
        if count:
            precision = right.double().cumsum(0) / torch.arange(1, len(right) + 1)
            gains = precision * right
            ranked = [gains[:count].sum() / count, gains.sum() / count]
            row = [right[:1].any(), right[:3].any(), precision[2], precision[count - 1], *ranked]
            sums += torch.tensor([float(one) for one in row], dtype=torch.float64)
            queries += 1
    return (sums / queries).tolist()


def test_weighted_scores_are_those_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every resample: an image drawn n times is n queries and lies n times in the gallery, less the query's own."""
    points, labels = images(1, count=24, classes=4)
    drawn = np.random.default_rng(7).multinomial(24, np.full(24, 1 / 24), size=30)
    monkeypatch.setattr(bootstrap, "_sample_counts", lambda _, resamples: drawn[:resamples])
    expected = torch.tensor([copied(points, labels, torch.from_numpy(one)) for one in drawn], dtype=torch.float64)
    values = values_of(points, labels)
    low, high = torch.quantile(expected, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    moved = values.mean(0) - expected.mean(0)
    ends = torch.stack([low + moved, high + moved]).clamp(0, 1)
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 24 * 30 * 3)  # several blocks
    found = joint_intervals(points, labels, values, SCORES, "euclidean", resamples=30)
    torch.testing.assert_close(found[0], values.mean(0))
    torch.testing.assert_close(found[1:], ends, rtol=0, atol=1e-6)


def test_images_searched_among_themselves_vary_more_than_their_queries() -> None:
    points, labels = images(0)
    values = values_of(points, labels)
    joint, plain = joint_intervals(points, labels, values, SCORES, "euclidean"), intervals(values)
    assert torch.equal(joint, joint_intervals(points, labels, values, SCORES, "euclidean"))
    assert ((joint[2] - joint[1]) > 1.2 * (plain[2] - plain[1])).all()
    assert ((joint[1] < joint[0]) & (joint[0] < joint[2])).all()


def test_large_galleries_have_fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = images(0, count=40, classes=3)
    counts: list[int] = []
    draws = bootstrap._sample_counts

    def noting(count: int, resamples: int) -> Any:
        counts.append(resamples)
        return draws(count, resamples)

    monkeypatch.setattr(bootstrap, "_sample_counts", noting)
    for most in (1e9, 300 * 40**2, 1):
        monkeypatch.setattr(bootstrap, "MAX_ADDITIONS", most)
        joint_intervals(points, labels, values_of(points, labels), SCORES, "euclidean")
    assert counts == [400, 300, 200]


def test_without_anything_to_find_there_is_no_interval() -> None:
    points, labels = torch.randn(3, 2), torch.arange(3)
    assert joint_intervals(points, labels, torch.zeros(0, 6), SCORES, "cosine").isnan().all()


def test_blocks_of_queries_without_anything_to_find_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = images(0, count=30, classes=3)
    values = values_of(points, labels)
    alone = torch.full((2,), 3), torch.full((2, 6), 50.0) * torch.tensor([[1], [-1]])  # far away, one image per class
    more, classes = torch.cat([points, alone[1]]), torch.cat([labels, alone[0] + torch.arange(2)])
    whole = joint_intervals(more, classes, values, SCORES, "euclidean", resamples=20)
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 1)  # one query per block
    torch.testing.assert_close(joint_intervals(more, classes, values, SCORES, "euclidean", resamples=20), whole)


@pytest.mark.slow
def test_nine_in_ten_intervals_of_further_data_sets_cover_the_truth() -> None:
    """Intervals that take the queries for independent cover it in 73 to 87 of 100 data sets."""
    truth = torch.stack([values_of(*images(seed)).mean(0) for seed in range(10_000, 11_500)]).mean(0)
    covered, plain = torch.zeros(2, len(SCORES))
    for seed in range(300):
        values = values_of(*images(seed))
        _, low, high = joint_intervals(*images(seed), values, SCORES, "euclidean", resamples=200)
        covered += (low <= truth) & (truth <= high)
        _, low, high = intervals(values)
        plain += (low <= truth) & (truth <= high)
    shares = dict(zip(SCORES, (covered / 300).tolist(), strict=True))
    assert min(shares["top_1"], shares["map_at_r"], shares["map"]) >= 0.92, shares
    assert max((plain / 300)[[0, 4, 5]].tolist()) < 0.9

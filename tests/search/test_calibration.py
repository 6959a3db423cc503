"""Known cars: p-values by hand, and that they are as frequent as they say."""

import pytest
import torch
from torch import Tensor

from carsfg.retrieval.similarity import Metric
from carsfg.search.calibration import MAX_CALIBRATION_IMAGES, MIN_KNOWN_P, calibrate, p_value
from carsfg.search.gallery import Gallery

POINTS = torch.tensor([[0.0, 3], [4, 0], [0, -2], [1, 0], [5, 5]])


def gallery(points: Tensor, metric: Metric = "euclidean") -> Gallery:
    return Gallery.build(points, torch.zeros(len(points), dtype=torch.int64), metric=metric)


@pytest.mark.parametrize(
    ("score", "p"), [(0.1, 1 / 5), (0.2, 2 / 5), (0.5, 3 / 5), (0.6, 4 / 5), (0.79, 4 / 5), (0.8, 1), (0.9, 1)]
)
def test_p_by_hand(score: float, p: float) -> None:
    """Equals count as no nearer."""
    assert p_value(score, [0.2, 0.4, 0.6, 0.8]) == pytest.approx(p)


def test_p_with_few_known_cars_cannot_be_small() -> None:
    assert p_value(-1.0, []) == 1
    assert p_value(-1.0, [0.0] * 19) == pytest.approx(MIN_KNOWN_P)


def test_scores_of_the_gallery_s_own_by_hand() -> None:
    """Each among the others: the nearest of (5, 5) is (4, 0), of (0, 3) it is (1, 0)."""
    found = calibrate(gallery(POINTS), POINTS, itself=True)
    assert found == pytest.approx([-(26**0.5), -(10**0.5), -3, -(5**0.5), -(5**0.5)], abs=1e-6)


def test_scores_of_others_by_hand() -> None:
    others = torch.tensor([[0.0, 0], [4, 2], [5, 5]])
    assert calibrate(gallery(POINTS), others, itself=False) == pytest.approx([-2, -1, 0])
    assert calibrate(gallery(POINTS, "cosine"), torch.tensor([[3.0, 3], [1, 3]]), itself=False) == pytest.approx(
        [0.9**0.5, 1], abs=1e-6
    )


def test_one_car_has_no_others() -> None:
    assert calibrate(gallery(POINTS[:1]), POINTS[:1], itself=True) == []


def test_at_most_so_many_are_kept_and_always_the_same() -> None:
    points = torch.randn(MAX_CALIBRATION_IMAGES + 500, 4, generator=torch.Generator().manual_seed(0))
    known = calibrate(gallery(points), points, itself=True)
    assert len(known) == MAX_CALIBRATION_IMAGES == 2000
    assert known == sorted(known)
    assert known == calibrate(gallery(points), points, itself=True)


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_p_of_further_draws_is_uniform(metric: Metric, itself: bool) -> None:
    """Kolmogorov's distance of 2,000 p-values, calibrated with as many draws, exceeds 0.062 once in a thousand."""
    one, two, three = torch.randn(3, MAX_CALIBRATION_IMAGES, 16, generator=torch.Generator().manual_seed(0))
    built = gallery(one, metric)
    known = calibrate(built, one if itself else two, itself)
    scores = built.search(three, 1)[0].flatten().tolist()
    ps = torch.tensor([p_value(score, known) for score in scores]).sort().values
    assert float((ps - torch.linspace(0, 1, len(ps))).abs().max()) < 0.062
    assert float((ps < MIN_KNOWN_P).float().mean()) == pytest.approx(MIN_KNOWN_P, abs=0.021)  # 3 deviations


def test_p_of_what_is_unlike_all_is_small() -> None:
    points = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    built = gallery(points)
    known = calibrate(built, points, itself=True)
    (far,) = built.search(torch.full((1, 16), 30.0), 1)[0].flatten().tolist()
    assert p_value(far, known) == pytest.approx(1 / 501)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("share", [0, 0.2, 0.8])
def test_duplicates_do_not_make_known_cars_unknown(share: float, metric: Metric) -> None:
    """If each second image of the gallery were scored by its own copy, all photos would be further away than that."""
    one, photos = torch.randn(2, MAX_CALIBRATION_IMAGES, 16, generator=torch.Generator().manual_seed(0))
    both = torch.cat([one, one[: int(share * len(one))]])
    built = gallery(both, metric)
    known = calibrate(built, both, itself=True)
    assert len(known) >= 0.15 * len(one)
    ps = [p_value(score, known) for score in built.search(photos, 1)[0].flatten().tolist()]
    assert sum(p < MIN_KNOWN_P for p in ps) / len(ps) == pytest.approx(MIN_KNOWN_P, abs=0.025)


def test_a_gallery_of_duplicates_alone_is_not_calibrated() -> None:
    once = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    assert calibrate(gallery(torch.cat([once, once]), "cosine"), torch.cat([once, once]), itself=True) == []


def test_duplicates_of_other_photos_are_scored() -> None:
    """Only the gallery's own images are left out: other photos may well be in the gallery, too."""
    assert calibrate(gallery(POINTS), POINTS[:2], itself=False) == [0, 0]


def test_equal_images_are_as_near_as_can_be() -> None:
    """A cosine of 1 comes out as 0.9999999 or 1.0000001: neither is nearer than the other."""
    once = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    built = gallery(once, "cosine")
    known = calibrate(built, once, itself=False)
    assert {p_value(float(built.search(row[None], 1)[0]), known) for row in once} == {1.0}

"""The mean of a photo and its mirror image, by hand."""

import pytest
import torch

from carsfg.retrieval.mirror import mirrored_mean

PHOTO, MIRROR = torch.tensor([[3.0, 4], [2, 0]]), torch.tensor([[0.0, 20], [2, 0]])


def test_by_cosine_both_have_the_same_weight() -> None:
    assert mirrored_mean(PHOTO, MIRROR, "cosine").numpy() == pytest.approx(torch.tensor([[0.3, 0.9], [1, 0]]).numpy())


def test_by_euclidean_distance_it_is_the_plain_mean() -> None:
    assert mirrored_mean(PHOTO, MIRROR, "euclidean").tolist() == [[1.5, 12], [2, 0]]

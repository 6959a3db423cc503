from typing import Any

import pytest
import torch

from carsfg.errors import InputError
from carsfg.models.preprocess import Preprocess


def test_literal_numbers_of_a_constant_image() -> None:
    images = torch.tensor([255, 128, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    out = Preprocess(4)(images)
    assert out.shape == (2, 3, 4, 4)
    assert out.dtype == torch.float32
    # (1 - .485) / .229, (128 / 255 - .456) / .224, (0 - .406) / .225
    for channel, value in enumerate((2.248908, 0.205182, -1.804444)):
        torch.testing.assert_close(out[:, channel], torch.full((2, 4, 4), value), atol=1e-5, rtol=0)


def test_own_mean_and_deviation() -> None:
    out = Preprocess(1, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))(torch.full((1, 3, 1, 1), 255.0))
    assert out.flatten().tolist() == [1.0, 1.0, 0.0]


def test_images_of_the_size_keep_every_pixel() -> None:
    images = torch.randint(256, (2, 3, 5, 5), dtype=torch.uint8)
    out = Preprocess(5, mean=(0, 0, 0), std=(1, 1, 1))(images) * 255
    assert torch.equal(out.round().to(torch.uint8), images)


def test_other_images_are_squashed_with_antialiasing() -> None:
    images = torch.zeros(1, 3, 4, 8)
    images[..., ::2] = 200.0  # stripes of one pixel: without antialiasing they would survive
    out = Preprocess(2, mean=(0, 0, 0), std=(1, 1, 1))(images) * 255
    assert out.shape == (1, 3, 2, 2)
    torch.testing.assert_close(out, torch.full((1, 3, 2, 2), 100.0), atol=15, rtol=0)


def test_bicubic_never_leaves_the_range() -> None:
    images = torch.zeros(1, 3, 4, 4)
    images[..., 2:] = 255.0
    out = Preprocess(16, "bicubic", mean=(0, 0, 0), std=(1, 1, 1))(images)
    assert out.min() == 0
    assert out.max() == 1


@pytest.mark.parametrize("size", [4, 6])
def test_uint8_and_float_agree(size: int) -> None:
    images = torch.randint(256, (2, 3, 6, 6), dtype=torch.uint8)
    assert torch.equal(Preprocess(size)(images), Preprocess(size)(images.float()))


def test_output_is_channels_last() -> None:
    out = Preprocess(4)(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_mean_and_deviation_travel_in_the_state_dict() -> None:
    saved = Preprocess(4, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).state_dict()
    assert sorted(saved) == ["mean", "std"]
    other = Preprocess(4)
    other.load_state_dict(saved)
    assert other(torch.full((1, 3, 4, 4), 255.0)).unique().tolist() == [2.0]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_no_pixel_is_left_out_when_images_shrink_by_four(interpolation: Any) -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[..., ::4] = 200.0  # without antialiasing, only the columns 1, 2, 5 and 6 would be read
    out = Preprocess(2, interpolation, mean=(0, 0, 0), std=(1, 1, 1))(images) * 255
    torch.testing.assert_close(out, torch.full((1, 3, 2, 2), 50.0), atol=20, rtol=0)


@pytest.mark.parametrize("values", [{"mean": (0.5,)}, {"std": (0.5, 0.5)}, {"std": (1, 1, 0)}, {"std": (1, 1, -1)}])
def test_normalisations_that_do_not_exist(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(InputError, match=rf"model\.{name} is \[.*\]: give three numbers"):
        Preprocess(4, **values)

import pytest
import torch

from carsfg.errors import InputError
from carsfg.hardware import device_name, find_device


def test_a_device_that_is_there() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_name(torch.device("cpu")).startswith("CPU (")


@pytest.mark.parametrize("name", ["toaster", "cuda:99", "meta", ""])
def test_a_device_that_is_not(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}' is not to be had here: choose auto, cpu, cuda"):
        find_device(name)

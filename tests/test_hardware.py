"""The device of a verb and the one rule of its precision."""

from pathlib import Path

import pytest
import torch

from carsfg import hardware
from carsfg.errors import InputError
from carsfg.hardware import check_processes, choose_precision, device_name, find_device, free_memory


def test_a_device_of_this_machine() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_name(torch.device("cpu")).startswith("CPU (")


@pytest.mark.parametrize("name", ["toaster", "cuda:99", "meta", ""])
def test_a_device_that_does_not_exist(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}' is not available on this machine; use auto, cpu, cuda"):
        find_device(name)


@pytest.mark.parametrize(
    ("computes", "wanted", "trained", "expected"),
    [
        (True, None, None, "bf16-mixed"),
        (False, None, None, "32-true"),
        (True, None, "32-true", "32-true"),
        (True, None, "16-mixed", "bf16-mixed"),
        (False, None, "bf16-mixed", "32-true"),
        (False, "bf16-mixed", "32-true", "bf16-mixed"),
        (True, "32-true", "bf16-mixed", "32-true"),
    ],
)
def test_precision(
    computes: bool, wanted: str | None, trained: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "computes_in_bfloat16", lambda _: computes)
    assert choose_precision("cpu", wanted, trained) == expected


@pytest.mark.parametrize(("cores", "wanted", "allowed"), [(1, 16, True), (1, 17, False), (8, 32, True), (8, 33, False)])
def test_processes(cores: int, wanted: int, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    if allowed:
        check_processes("data.num_workers", wanted)
        return
    said = f"data.num_workers {wanted} is too many for the cores of this machine: use {cores} or fewer"
    with pytest.raises(InputError, match=said):
        check_processes("data.num_workers", wanted)


def test_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    monkeypatch.setattr(hardware, "CONTAINER", tmp_path)
    free = free_memory(device)
    if free is None:  # not Linux
        return
    assert 2**20 < free < 2**50
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(device) != 0
    (tmp_path / "memory.max").write_text("3000\n")
    assert free_memory(device) == 2000

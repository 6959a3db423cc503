"""The device that computes: finding it, naming it, and what precision it computes in."""

import platform
from typing import Any

import torch

from carsfg.errors import InputError


def computes_in_bfloat16(accelerator: Any) -> bool:
    """Whether a device has instructions for bfloat16, so that mixed precision pays.

    Args:
        accelerator: Lightning's word for it, such as `auto`, `cpu`, `gpu`, or the type of a `torch.device`.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator not in ("auto", "cpu") or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def find_device(name: str = "auto") -> torch.device:
    """Find a device that works.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, `mps`; `auto`: the first GPU, or else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type in ("cpu", "cuda", "mps"):
            return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):  # each kind of device has its own
        pass
    raise InputError(f"device {name!r} is not to be had here: choose auto, cpu, cuda, cuda:1 or mps")


def device_name(device: torch.device) -> str:
    """Name a device as stamps do.

    Args:
        device: as `find_device` finds it.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} ({platform.machine()}, {torch.get_num_threads()} threads)"

"""Devices: finding and naming them, and the precision to compute in."""

import os
import platform
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from carsfg.errors import InputError
from carsfg.files import show_bytes

CPU = torch.device("cpu")
USABLE_SHARE = 0.8  # of the free memory, in the sizes that are suggested
MAX_BATCH_SIZE = 65_536
CONTAINER = Path("/sys/fs/cgroup")  # where Linux says what a container may use
PROCESSES_PER_CORE, FEWEST_PROCESSES = 4, 16  # that may be asked for: more only take memory from each other


def can_compile(device: torch.device) -> bool:
    """Return whether `torch.compile` can be used: on a GPU, with Triton and a C compiler.

    Args:
        device: CPU or GPU that a network trains on.
    """
    return device.type == "cuda" and find_spec("triton") is not None and shutil.which("cc") is not None


def computes_in_bfloat16(accelerator: Any) -> bool:
    """Return True if a device has instructions for bfloat16, so that mixed precision is faster.

    Args:
        accelerator: Lightning's name of it, such as `auto`, `cpu` or `gpu`, or the type of a `torch.device`.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator not in ("auto", "cpu") or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose_precision(accelerator: Any, wanted: str | None = None, trained: str | None = None) -> str:
    """Return the precision to compute in, in Lightning's terms; all verbs use this rule.

    What the user asks for is used. Otherwise `bf16-mixed` is used if the device computes in it, unless the network was
    trained in full precision.

    Args:
        accelerator: as in `computes_in_bfloat16`.
        wanted: by the user: `bf16-mixed`, `32-true` or another of Lightning's; None: nothing.
        trained: precision that the network was trained in; None: unknown, or it is to be trained.
    """
    if wanted is not None:
        return wanted
    full = trained is not None and trained.startswith(("32", "64"))
    return "bf16-mixed" if computes_in_bfloat16(accelerator) and not full else "32-true"


def find_device(name: str = "auto") -> torch.device:
    """Return a device of this machine.

    Args:
        name: `cpu`, `cuda`, `cuda:1` or `mps`; `auto`: the first CUDA GPU, or else the CPU.

    Raises:
        InputError: the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type in ("cpu", "cuda", "mps"):
            return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):  # each kind of device has its own
        pass
    raise InputError(f"device {name!r} is not available on this machine; use auto, cpu, cuda, cuda:1 or mps")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_processes(name: str, wanted: int) -> None:
    """Refuse a number of processes that would fill the memory of this machine and gain nothing.

    Args:
        name: of the setting, for the message.
        wanted: number of processes, each of which imports PyTorch.

    Raises:
        InputError: it is above 16 and above four times the number of cores.
    """
    if wanted > max(PROCESSES_PER_CORE * cores(), FEWEST_PROCESSES):
        said = f"{name} {wanted} is too many for the cores of this machine"
        raise InputError(f"{said}: use {cores()} or fewer")


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes; None where the system does not say.

    On the CPU it is what Linux calls available, at most what is left of the limit of a container.

    Args:
        device: as `find_device` returns it.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, max(0, limit - used))
    return free


def check_memory(what: str, needed: float, advice: str, device: torch.device = CPU) -> None:
    """Compare what is about to be allocated with the free memory of a device.

    Args:
        what: begins the message, such as `a gallery of 5 images`.
        needed: bytes that are needed at least.
        advice: what to do instead.
        device: where it is allocated.

    Raises:
        InputError: the device has less free memory; where the system does not say, nothing is checked.
    """
    free = free_memory(device)
    if free is not None and needed > free:
        where = " of the GPU" if device.type == "cuda" else ""
        raise InputError(
            f"{what} {show_bytes(needed)} are needed in memory{where} or more, {show_bytes(free)} are free: {advice}"
        )


def largest_fitting(each: float, device: torch.device = CPU) -> int:
    """Return how many items fit into four fifths of the free memory of a device, at least 1.

    Args:
        each: bytes per item.
        device: where they are allocated.
    """
    return max(1, int(USABLE_SHARE * (free_memory(device) or 0) / each))


def check_batch_size(name: str, wanted: int) -> None:
    """Refuse a batch size that no device can hold.

    Args:
        name: of the setting, for the message.
        wanted: number of images.

    Raises:
        InputError: it is above 65,536.
    """
    if wanted > MAX_BATCH_SIZE:
        raise InputError(f"{name} {wanted} is too large for any device: use {MAX_BATCH_SIZE} or less, such as 64")


def device_name(device: torch.device) -> str:
    """Return the name of a device, such as `NVIDIA H100` or `CPU (x86_64, 2 threads)`.

    Args:
        device: as `find_device` returns it.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} ({platform.machine()}, {torch.get_num_threads()} threads)"

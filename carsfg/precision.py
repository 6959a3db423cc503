"""Which precision a device computes in."""

from typing import Any

import torch


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

"""A fingerprint of a network: equal where embeddings of equal images are."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule


def fingerprint(
    task: LightningModule,
    parts: Sequence[str] = ("trunk.", "projection.", "preprocess."),
    facts: Sequence[Any] | None = None,
) -> str:
    """Hash all that an embedding depends on, as 16 hexadecimal digits.

    Args:
        task: one of carsfg's.
        parts: prefixes of the tensors that count.
        facts: what counts beside them; by default what the task does to images and embeddings around its weights.
    """
    if facts is None:
        facts = [task.hparams.get(name) for name in ("image_size", "interpolation", "pooling", "normalize")]
    made_of = hashlib.blake2b(repr(list(facts)).encode(), digest_size=8)
    for name, value in sorted(task.state_dict().items()):
        if name.startswith(tuple(parts)):
            made_of.update(name.encode())
            made_of.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return made_of.hexdigest()

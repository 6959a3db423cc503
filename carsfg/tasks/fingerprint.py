"""Fingerprint of a network: equal fingerprints mean equal embeddings of equal images."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from carsfg.tasks.network import CarsNetwork

UNSET = (None, "average")  # not hashed: an argument left out, and the usual pooling, which most networks have anyway
NEWER_DEFAULTS = (("standardize", False),)  # not hashed, since older networks do not have these arguments


def fingerprint(
    task: "CarsNetwork",
    parts: Sequence[str] = ("backbone.", "projection.", "preprocess."),
    facts: Sequence[Any] = (),
) -> str:
    """Hash everything that decides an embedding, as 16 hexadecimal digits.

    That is the tensors and the task's `network_arguments`, a list of names, so that other hyper-parameters, new ones
    included, do not change the fingerprints of existing galleries.

    Args:
        task: whose network is hashed.
        parts: prefixes of the names of the tensors to hash.
        facts: further values to hash.
    """
    arguments = {name: task.hparams.get(name) for name in task.network_arguments}
    named = sorted(one for one in arguments.items() if one[1] not in UNSET and one not in NEWER_DEFAULTS)
    digest = hashlib.blake2b(repr([named, *facts]).encode(), digest_size=8)
    for name, value in sorted(task.state_dict().items()):
        if name.startswith(tuple(parts)):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

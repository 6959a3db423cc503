"""A fingerprint of a network: equal where embeddings of equal images are."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule

# hyper-parameters that change how a network learns, or where it began, but not what it makes of an image
NOT_OF_THE_NETWORK = {
    "class_names", "init_from", "weights", "optimizer", "lr", "weight_decay", "optimizer_args", "scheduler",
    "scheduler_args", "scheduler_interval", "label_smoothing", "mean", "std", "compile", "freeze", "dropout", "loss",
    "loss_args", "loss_lr", "he_init",
}  # fmt: skip
USUAL = (None, "average")  # a pooling that is not said is the network's own, which is mostly this one


def fingerprint(
    task: LightningModule,
    parts: Sequence[str] = ("backbone.", "projection.", "preprocess."),
    facts: Sequence[Any] = (),
) -> str:
    """Hash all that an embedding depends on, as 16 hexadecimal digits.

    Args:
        task: one of carsfg's.
        parts: prefixes of the tensors that count.
        facts: what counts beside them and the hyper-parameters that shape the network.
    """
    shape = {k: v for k, v in task.hparams.items() if k not in NOT_OF_THE_NETWORK and v not in USUAL}
    made_of = hashlib.blake2b(repr([sorted(shape.items()), *facts]).encode(), digest_size=8)
    for name, value in sorted(task.state_dict().items()):
        if name.startswith(tuple(parts)):
            made_of.update(name.encode())
            made_of.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return made_of.hexdigest()

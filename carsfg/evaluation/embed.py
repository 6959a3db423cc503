"""Embedding images without a Trainer."""

from collections.abc import Iterable

import torch
from torch import Tensor

from carsfg.data.batches import Batch
from carsfg.retrieval.ranking import Embedded
from carsfg.tasks.base import CarsTask


@torch.no_grad()
def embed(task: CarsTask, batches: Iterable[Batch], bfloat16: bool = False) -> tuple[Embedded, Tensor]:
    """Run each image through a network once.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        batches: of `image`, `label` and `index`.
        bfloat16: compute in it where autocast does.

    Returns:
        Embeddings, float32 on the CPU, labels and indices of the N images, in the order they came; and what the head
        takes them for, int64 (N,).
    """
    device, parts, predicted = task.device, [], []
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for batch in batches:
            embedding = task.embed({"image": batch["image"].to(device, non_blocking=True)})
            predicted.append(task.classify(embedding).float().argmax(1).cpu())
            parts.append((embedding.float().cpu(), batch["label"].cpu(), batch["index"].cpu()))
    return Embedded(*(torch.cat(tensors) for tensors in zip(*parts, strict=True))), torch.cat(predicted)

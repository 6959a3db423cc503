"""Embeddings and predictions of images, computed without a Trainer."""

from collections.abc import Iterable

import torch
from torch import Tensor

from carsfg.data.batches import Batch
from carsfg.retrieval.ranking import EmbeddedImages
from carsfg.tasks.base import CarsTask


@torch.no_grad()
def embed(task: CarsTask, batches: Iterable[Batch], bfloat16: bool = False) -> tuple[EmbeddedImages, Tensor | None]:
    """Compute the embedding and the predicted label of each image.

    Args:
        task: in eval mode, as `carsfg.load` gives it.
        batches: with `image`, `label` and `index`.
        bfloat16: use bfloat16 autocast.

    Returns:
        Embeddings, float32 on the CPU, labels and indices of the N images, in the order of the batches; and the labels
        that the head predicts, int64 (N,), or None if the network has no head.
    """
    device, parts, predicted = task.device, [], []
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for batch in batches:
            embedding = task.embed({"image": batch["image"].to(device, non_blocking=True)})
            if task.has_head:
                predicted.append(task.classify(embedding).float().argmax(1).cpu())
            parts.append((embedding.float().cpu(), batch["label"].cpu(), batch["index"].cpu()))
    embedded = EmbeddedImages(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    return embedded, torch.cat(predicted) if predicted else None

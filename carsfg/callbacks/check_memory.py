"""CheckMemory: a batch that cannot fit into memory is refused before the first epoch."""

import torch
from lightning import LightningModule, Trainer
from torch import nn
from torch.func import functional_call

from carsfg.callbacks.observer import Observer
from carsfg.data.datamodule import CarsDataModule
from carsfg.errors import InputError
from carsfg.hardware import USABLE_SHARE, free_memory
from carsfg.tasks.base import CarsTask

SIZE_STEP = 32  # suggested image sizes are multiples of it, in pixels


class CheckMemory(Observer):
    """Compare the memory that a training batch needs at least with what is free on the CPU.

    That is the images, and all that the backbone keeps of them for its gradients, see `bytes_per_image`. Real use is
    higher. On a GPU nothing is estimated, since its own error stops the run: the operating system kills a process that
    fills the memory of the CPU.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before the output of a frozen backbone is computed.

        Raises:
            InputError: the batch needs more than is free.
        """
        data = getattr(trainer, "datamodule", None)
        device = trainer.strategy.root_device
        if not isinstance(data, CarsDataModule) or not isinstance(pl_module, CarsTask) or device.type != "cpu":
            return
        share = 0.5 if "16" in str(trainer.precision) else 1.0  # of single precision
        kept = 0.0 if pl_module.hparams["compile"] is True else share * kept_bytes(pl_module.backbone, _side(pl_module))
        each = 3 * data.stored_size**2 + 3 * 4 * _side(pl_module) ** 2 + kept
        images = min(data.batch_size, len(data.splits.train))
        free = free_memory(device)
        if free is not None and each * images > free:
            raise InputError(refusal(images, each, free, _side(pl_module)))


def kept_bytes(backbone: nn.Module, size: int) -> float:
    """Return the memory that a network keeps of one image for its gradients, in bytes; 0 if it cannot be told.

    The network runs on tensors without memory (`meta`), so that this takes none and little time. Attention weights are
    left out: on a real device attention is fused, which does not keep them.

    Args:
        backbone: maps float images (B, 3, size, size) to features.
        size: side of the image in pixels.
    """
    own = dict(backbone.named_parameters()) | dict(backbone.named_buffers())
    shapes = {name: torch.empty_like(one, device="meta").requires_grad_(one.requires_grad) for name, one in own.items()}
    left_out = {id(one.untyped_storage()) for one in shapes.values()}
    kept: dict[int, torch.UntypedStorage] = {}
    fused: list[torch.UntypedStorage] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if "Softmax" in type(tensor.grad_fn).__name__:
            left_out.add(id(storage))
            fused.append(storage)  # so that its id is not given again
        elif id(storage) not in left_out:
            kept[id(storage)] = storage
        return tensor

    images = torch.empty(2, 3, size, size, device="meta")  # two, since BatchNorm refuses one
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            functional_call(backbone, shapes, (images,))
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # it asks for values of its tensors
        return 0.0
    return sum(storage.nbytes() for storage in kept.values()) / len(images)


def refusal(images: int, each: float, free: int, size: int) -> str:
    """Return the message for a batch that does not fit.

    Args:
        images: number of images in the batch.
        each: memory per image in bytes.
        free: free memory in bytes.
        size: side of the network's input in pixels.
    """
    needed, there = (f"{number / 2**30:.2f} GB" for number in (each * images, free))
    fitting = int(USABLE_SHARE * free / each)
    if fitting > 1:
        way = f"use data.batch_size {fitting} or less"
    else:  # two images have to fit
        side = int(size * (USABLE_SHARE * free / each / 2) ** 0.5) // SIZE_STEP * SIZE_STEP
        way = f"use model.image_size {max(SIZE_STEP, side)} or less"
    return f"a batch of {images} images of {size} pixels needs {needed} of memory or more, {there} are free: {way}"


def _side(task: CarsTask) -> int:
    return int(task.hparams["image_size"])

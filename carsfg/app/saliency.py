"""Where in a photo its similarity to another image comes from."""

import colorsys

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from carsfg.tasks.base import CarsTask


def heat_map(task: CarsTask, pixels: Tensor, target: Tensor) -> Tensor | None:
    """Share the similarity of a photo and another image out among the places of the photo.

    Each place of the last feature map gets its activations times the gradient of the similarity. Pooling by average,
    maximum or generalised mean and linear layers without bias keep sums, so that with these the shares add up to the
    similarity itself.
    Source: Stylianou et al., "Visualizing Deep Similarity Networks", 2019, for average and maximum pooling.

    Args:
        task: in eval mode.
        pixels: the photo, uint8 (3, S, S).
        target: embedding of the other image, float (D,).

    Returns:
        Shares, float (h, w), below zero where the photo speaks against it; None where the network has no such map.
    """
    maps: list[Tensor] = []

    def keep(_module: nn.Module, _arguments: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            maps[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in task.backbone.modules() if not list(module.children())]
    try:
        with torch.enable_grad():
            image = task.preprocess(pixels[None].to(task.device)).requires_grad_()
            feature = task.embed_images(image)
            embedding = getattr(task, "projection", nn.Identity())(feature).float()  # of its own length: see below
    finally:
        for hook in hooks:
            hook.remove()
    if not maps:
        return None
    length = embedding.norm().detach()  # held still: through it, all shares together would come to nothing
    similarity = (embedding[0] @ functional.normalize(target.to(task.device), dim=0)) / length
    (gradient,) = torch.autograd.grad(similarity, maps)
    return (gradient * maps[0].detach()).sum(1)[0].float().cpu()


def overlay(image: Image.Image, heat: Tensor) -> Image.Image:
    """Lay a heat map over a photo: what speaks for the match glows, the rest is dimmed.

    Args:
        image: RGB.
        heat: float (h, w).
    """
    shares = heat.clamp(min=0)
    shares = functional.interpolate(shares[None, None], image.size[::-1], mode="bicubic", align_corners=False)[0, 0]
    strength = (shares / shares.max().clamp(min=1e-12)).clamp(0, 1).numpy()[..., None]
    warm = np.array([colorsys.hsv_to_rgb(0.14 * (1 - step / 255), 1, 1) for step in range(256)]) * 255
    glow = warm[(strength[..., 0] * 255).astype(int)]
    grey = np.asarray(image.convert("L"))[..., None].astype(float)
    mixed = 0.6 * grey * (1 - 0.7 * strength) + glow * 0.7 * strength + 0.4 * np.asarray(image) * (1 - strength)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))

"""Heat maps: how much each part of a photo contributes to its similarity to another image."""

import colorsys

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from carsfg.models.constant_scales import constant_scales
from carsfg.models.feature_map import keep_last_map
from carsfg.tasks.network import CarsNetwork


def heat_map(task: CarsNetwork, pixels: Tensor, target: Tensor) -> Tensor | None:
    """Decompose the cosine similarity of a photo and another image into contributions of image regions.

    The contribution of a location of the last feature map, or of a patch token, is the sum over channels of activation
    times gradient of the similarity, with the scales of layer normalisations as constants. With average, maximum or
    generalised-mean pooling, layer normalisation and linear layers without bias, the contributions add up to the
    similarity. In a transformer whose class token alone is used, they are taken before the last block, with its
    attention in the gradient, and do not add up.
    Source: Stylianou et al., "Visualizing Deep Similarity Networks", 2019, for average and maximum pooling.

    Args:
        task: network in eval mode.
        pixels: photo, uint8 (3, S, S).
        target: embedding of the other image, float (D,).

    Returns:
        Contributions, float (h, w), negative where a region lowers the similarity; None if the network has no feature
        map or grid of tokens larger than 1 x 1, see `keep_last_map`.
    """
    with torch.enable_grad(), constant_scales(task.backbone), keep_last_map(task.backbone) as maps:
        image = task.preprocess(pixels[None].to(task.device)).requires_grad_()
        feature = task.embed_images(image)
        embedding = getattr(task, "projection", nn.Identity())(feature).float()  # not normalised: see below
    if not maps:
        return None
    length = embedding.norm().detach()  # a constant: with its gradient, the contributions would add up to zero
    similarity = (embedding[0] @ functional.normalize(target.to(task.device), dim=0)) / length
    (gradient,) = torch.autograd.grad(similarity, maps)
    return (gradient * maps[0].detach()).sum(1)[0].float().cpu()


def overlay(image: Image.Image, heat: Tensor) -> Image.Image:
    """Draw a heat map over a photo: positive contributions glow, all other regions are greyed.

    Args:
        image: RGB photo of any size.
        heat: contributions as returned by `heat_map`, float (h, w); negative values are not shown.
    """
    positive = heat.clamp(min=0)
    positive = functional.interpolate(positive[None, None], image.size[::-1], mode="bicubic", align_corners=False)[0, 0]
    strength = (positive / positive.max().clamp(min=1e-12)).clamp(0, 1).numpy()[..., None]
    warm = np.array([colorsys.hsv_to_rgb(0.14 * (1 - step / 255), 1, 1) for step in range(256)]) * 255
    glow = warm[(strength[..., 0] * 255).astype(int)]
    grey = np.asarray(image.convert("L"))[..., None].astype(float)
    mixed = 0.6 * grey * (1 - 0.7 * strength) + glow * 0.7 * strength + 0.4 * np.asarray(image) * (1 - strength)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))

"""Backbones from timm: `timm:NAME` names any of its networks, without its head."""

import difflib
import logging
from collections.abc import Sequence
from typing import Any

from torch import nn

from carsfg.errors import InputError

PREFIX = "timm:"


def build_timm_backbone(name: str, pretrained: bool) -> tuple[nn.Module, int, tuple[str, ...]]:
    """Build one of timm's networks without its head; transformers take images of any size that their patches fit.

    Args:
        name: timm's, such as `convnext_tiny` or `vit_small_patch14_dinov2.lvd142m`.
        pretrained: fetch its weights, once; they are kept in the hub's own folder.

    Returns:
        The backbone, which maps float images (B, 3, H, W) to embeddings (B, width), its width, and the names of its
        head in a state_dict.

    Raises:
        InputError: timm is not installed or knows no such network, or its weights cannot be fetched.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"timm has no network {name!r}{meant}; timm.list_models() says which it has")
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each retry
    try:
        try:
            network = timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError:  # no transformer: nothing to adapt
            network = timm.create_model(name, **options)
    except Exception as error:  # a broken transfer or a damaged file shows as the hub's or safetensors' own
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"timm cannot build {name!r} ({said}); where its weights cannot be fetched, give --model.weights the path "
            "of a state_dict, or null for random ones"
        ) from error
    width = getattr(network, "head_hidden_size", network.num_features)  # some widen after pooling
    heads = network.pretrained_cfg.get("classifier") or ()
    return network, width, tuple(_head_keys(network, head) for head in ([heads] if isinstance(heads, str) else heads))


def _head_keys(network: nn.Module, head: str) -> str:
    """Return how a head's keys begin; those that normalise before their last layer are gone as a whole."""
    around = head.rpartition(".")[0]
    gone = isinstance(dict(network.named_modules()).get(around, nn.Identity()), nn.Identity)
    return f"{around}." if around and gone else f"{head}."


def check_normalisation(name: str, weights: str | None, mean: Sequence[float], std: Sequence[float]) -> None:
    """Compare the normalisation of images with that which a pretrained network of timm's learned with.

    Args:
        name: of the backbone; those without `timm:` are not looked at.
        weights: what the network starts from; None for random weights, which fit any normalisation.
        mean: per channel, of RGB scaled to 0..1.
        std: per channel, likewise.

    Raises:
        InputError: they differ.
    """
    if not name.startswith(PREFIX) or weights is None:
        return
    known = _import_timm().get_pretrained_cfg(name.removeprefix(PREFIX))
    if known is None:
        return
    wanted = [*known.mean, *known.std]
    if any(abs(own - one) > 1e-4 for own, one in zip([*mean, *std], wanted, strict=True)):
        raise InputError(
            f"{name} learned from images of another normalisation: set model.mean to {wanted[:3]} and model.std to "
            f"{wanted[3:]}"
        )


def _import_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError:
        raise InputError("backbones of timm need it: python -m pip install 'carsfg[timm]'") from None
    return timm

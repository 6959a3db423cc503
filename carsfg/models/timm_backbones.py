"""Backbones from timm: `timm:NAME` is the timm network NAME without its head."""

import logging
from collections.abc import Sequence
from typing import Any

from torch import nn

from carsfg.errors import InputError, suggestion
from carsfg.models.fetched_weights import delete_damaged, time_limit

PREFIX = "timm:"
WITHOUT_NETWORK = "give --model.weights the path of a state_dict, or null for random ones"


def build_timm_backbone(name: str, pretrained: bool) -> tuple[nn.Module, int, tuple[str, ...]]:
    """Build a timm network without its head; transformers take images of any multiple of their patch size.

    Args:
        name: of the network in timm, such as `convnext_tiny` or `vit_small_patch14_dinov2.lvd142m`.
        pretrained: download its weights, once; they are kept in the folder of the Hugging Face hub.

    Returns:
        The backbone, which maps float images (B, 3, H, W) to features (B, width), its width, and the prefixes of the
        keys of its head in a state_dict.

    Raises:
        InputError: timm is not installed or has no such network, or the weights cannot be downloaded.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        meant = suggestion(name.partition(".")[0], timm.list_models())
        raise InputError(f"timm has no network {name!r}{meant}; timm.list_models() says which it has")
    network = _fetch(timm, name) if pretrained else _create(timm, name, False)
    width = getattr(network, "head_hidden_size", network.num_features)  # some widen after pooling
    heads = network.pretrained_cfg.get("classifier") or ()
    return network, width, tuple(_head_keys(network, head) for head in ([heads] if isinstance(heads, str) else heads))


def _fetch(timm: Any, name: str) -> Any:
    """Build a pretrained network; a file that came damaged is deleted, so that the next try fetches it again."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs each retry
    timm.models.set_pretrained_check_hash(True)  # of files that are not on the hub
    repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    try:
        with time_limit():
            network = _create(timm, name, True)
    except InputError:
        if not repository or not delete_damaged(repository):
            raise
    else:
        if not repository or not delete_damaged(repository):
            return network
    raise InputError(
        f"the weights of {name!r} that were fetched from {repository} are damaged (their SHA-256 differs) and were "
        f"deleted: try again, or {WITHOUT_NETWORK}"
    )


def _create(timm: Any, name: str, pretrained: bool) -> Any:
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    try:
        try:
            return timm.create_model(name, dynamic_img_size=True, **options)
        except TypeError:  # not a transformer: it takes any image size already
            return timm.create_model(name, **options)
    except Exception as error:  # broken downloads and damaged files raise types of the hub and of safetensors
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"timm cannot build {name!r} ({said}); where its weights cannot be fetched, {WITHOUT_NETWORK}"
        ) from error


def _head_keys(network: nn.Module, head: str) -> str:
    """Return the prefix of a head's keys; a head with a norm before its last layer has been removed as a whole."""
    around = head.rpartition(".")[0]
    gone = isinstance(dict(network.named_modules()).get(around, nn.Identity()), nn.Identity)
    return f"{around}." if around and gone else f"{head}."


def check_normalisation(name: str, weights: str | None, mean: Sequence[float], std: Sequence[float]) -> None:
    """Compare the normalisation of images with that of a pretrained timm network.

    Args:
        name: of the backbone; only those with `timm:` are checked.
        weights: of the backbone; None for random weights, which fit any normalisation.
        mean: of RGB scaled to 0..1, per channel.
        std: standard deviation of RGB scaled to 0..1, per channel.

    Raises:
        InputError: the normalisations differ.
    """
    if not name.startswith(PREFIX) or weights is None:
        return
    known = _import_timm().get_pretrained_cfg(name.removeprefix(PREFIX))
    if known is None:
        return
    wanted = [*known.mean, *known.std]
    if any(abs(own - one) > 1e-4 for own, one in zip([*mean, *std], wanted, strict=True)):
        raise InputError(
            f"{name} was trained with another normalisation: set model.mean to {wanted[:3]} and model.std to "
            f"{wanted[3:]}"
        )


def _import_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError:
        raise InputError("backbones of timm need it: python -m pip install -e '.[timm]'") from None
    return timm

"""Backbones from timm: `timm:NAME` is the timm network NAME without its head."""

import logging
from typing import Any

from torch import nn

from carsfg.errors import InputError, UnreachableWeightsError, suggestion
from carsfg.models.fetched_weights import delete_damaged, time_limit

PREFIX = "timm:"


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
    architecture, _, tag = name.partition(".")
    if tag and _configuration(name) is None:
        known = timm.list_pretrained(f"{architecture}.*")
        raise InputError(
            f"timm has no weights {tag!r} of {architecture}{suggestion(name, known)}; "
            f"timm.list_pretrained('{architecture}.*') says which it has"
        )
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
    raise UnreachableWeightsError(
        f"the weights of {name!r} that were fetched from {repository} are damaged (their SHA-256 differs) and were "
        "deleted: try again"
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
        failed = f"timm cannot build {name!r} ({said})"
        raise (UnreachableWeightsError(failed) if pretrained else InputError(failed)) from error


def _head_keys(network: nn.Module, head: str) -> str:
    """Return the prefix of a head's keys; a head with a norm before its last layer has been removed as a whole."""
    around = head.rpartition(".")[0]
    gone = isinstance(dict(network.named_modules()).get(around, nn.Identity()), nn.Identity)
    return f"{around}." if around and gone else f"{head}."


def describe_timm(name: str) -> dict[str, Any] | None:
    """Return what the weights of a timm network expect of images; None if timm does not describe them.

    Args:
        name: of the network in timm.

    Returns:
        `size` (height and width in pixels), `interpolation`, `mean` and `std` of RGB in 0..1.

    Raises:
        InputError: timm is not installed.
    """
    known = _configuration(name)
    if known is None:
        return None
    found = _import_timm().data.resolve_data_config(pretrained_cfg=known.to_dict())
    return {
        "size": tuple(found["input_size"][1:]),
        "interpolation": str(found["interpolation"]),
        "mean": [*found["mean"]],
        "std": [*found["std"]],
    }


def timm_weights_name(name: str) -> str:
    """Return the full name of a network's default weights, such as `resnet50.a1_in1k`.

    Args:
        name: of the network in timm, with or without a tag.

    Raises:
        InputError: timm is not installed.
    """
    known = _configuration(name)
    return f"{known.architecture}.{known.tag}" if known is not None and known.tag else name


def _configuration(name: str) -> Any:
    timm = _import_timm()
    try:
        return timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # an unknown tag; `build_timm_backbone` says so
        return None


def _import_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError:
        raise InputError("backbones of timm need it: python -m pip install -e '.[timm]'") from None
    return timm

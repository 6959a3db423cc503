"""Backbones: classification networks of torchvision and timm, by name, without their head."""

import contextlib
import pickle
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from carsfg.errors import InputError, UnreachableWeightsError, suggestion
from carsfg.models.cnn import CustomCNN
from carsfg.models.fetched_weights import time_limit
from carsfg.models.pooling import Pooling, refuse_negative_maps, with_pooling
from carsfg.models.timm_backbones import PREFIX, build_timm_backbone
from carsfg.untrusted import check_archive

CUSTOM = "custom_cnn"  # backbone name of the custom CNN
A_FILE = "the path of a state_dict (.pt or .safetensors)"  # in messages

_SKIP_WEIGHTS: ContextVar[bool] = ContextVar("skip_weights", default=False)


@contextlib.contextmanager
def skip_weights() -> Iterator[None]:
    """Build backbones without reading their pretrained weights, since a checkpoint will overwrite them."""
    token = _SKIP_WEIGHTS.set(True)
    try:
        yield
    finally:
        _SKIP_WEIGHTS.reset(token)


def weights_are_skipped() -> bool:
    """Return whether this runs inside `skip_weights()`."""
    return _SKIP_WEIGHTS.get()


def build_backbone(
    name: str,
    weights: str | None = None,
    pooling: Pooling | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, int]:
    """Build a classification network without its head, or a CustomCNN.

    Args:
        name: a torchvision network, such as `resnet50`, `densenet121` or `mobilenet_v2`; `timm:NAME` for a timm
            network; or `custom_cnn`.
        weights: a name of torchvision's weights (`DEFAULT`, `IMAGENET1K_V2`; downloaded once to torch's hub folder),
            `DEFAULT` for timm networks, the path of a state_dict of the network (with or without its head), or None
            for random weights.
        pooling: how the last feature maps are pooled; None: the network's own pooling.
        arguments: arguments of `carsfg.models.cnn.CustomCNN`.

    Returns:
        The backbone, which maps float images (B, 3, H, W) to features (B, width), and its width.

    Raises:
        InputError: the name is unknown, the pooling cannot be replaced, or the weights cannot be read, downloaded, or
            do not fit.
    """
    if name == CUSTOM:
        try:
            cnn = CustomCNN(**{**(arguments or {}), **({"pooling": pooling} if pooling else {})})
        except (TypeError, KeyError) as error:
            raise InputError(f"{CUSTOM} cannot be built of {dict(arguments or {})}: {error}") from error
        if weights is not None and not weights_are_skipped():
            if not _is_path(weights):
                raise InputError(
                    f"{CUSTOM} has no weights {weights!r}: give the path of a state_dict (.pt or .safetensors), or null"
                )
            _load_into(cnn, read_state_dict(Path(weights)), (), f"weights {weights}")
        return cnn, cnn.width
    if arguments:
        raise InputError(f"backbone_args are for {CUSTOM} only, the backbone is {name!r}: leave them out")
    if name.startswith(PREFIX):
        fetch = weights == "DEFAULT" and not weights_are_skipped()
        network, width, head_keys = build_timm_backbone(name.removeprefix(PREFIX), fetch)
        if weights not in (None, "DEFAULT") and not weights_are_skipped():
            _load_into(network, read_state_dict(Path(weights)), head_keys, f"weights {weights!r} for {name}")
        return with_pooling(network, pooling) if pooling else network, width
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        short = name.removeprefix("torchvision:")
        meant = f" (did you mean {short!r}?)" if short in known else suggestion(short, known)
        raise InputError(
            f"unknown backbone {name!r}{meant}; torchvision's classification networks and timm:NAME will do"
        )
    network = torchvision.models.get_model(name, weights=None, **_arguments(name))
    head_keys, width = _remove_head(network)
    if weights is not None and not weights_are_skipped():
        _load_into(network, _read_weights(name, weights), head_keys, f"weights {weights!r} for {name}")
    return with_pooling(network, pooling) if pooling else network, width


def check_backbone(backbone: nn.Module, size: int, name: str, width: int) -> None:
    """Try a backbone on one image of noise.

    Args:
        backbone: maps float images (1, 3, size, size) to features (1, width).
        size: side of the image in pixels.
        name: of the network, for the message.
        width: number of features W per image.

    Raises:
        InputError: the network does not take images of that size, gives another shape, or has GeM pooling and feature
            maps with negative values.
    """
    with refuse_negative_maps(backbone, name):
        features = check_image_size(backbone, size, name)
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if shape != (1, width):
        raise InputError(
            f"{name!r} gives {shape} for one image, not one vector of {width} numbers: it is not a classification "
            "network, choose another backbone"
        )


@torch.no_grad()
def check_image_size(backbone: nn.Module, size: int, name: str) -> Any:
    """Pass one image of noise through a backbone: some networks take one size only, or multiples of their patch size.

    Args:
        backbone: maps float images (1, 3, size, size) to features.
        size: side of the image in pixels.
        name: of the network, for the message.

    Returns:
        The output of the backbone.

    Raises:
        InputError: the network does not take images of that size.
    """
    modes = [(module, module.training) for module in backbone.modules()]
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))  # leaves the global state alone
    try:
        device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
        return backbone.eval()(noise.to(device))
    except (AssertionError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{name} takes no images of {size} pixels ({said}): choose another size") from error
    finally:
        for module, training in modes:
            module.training = training


def _arguments(name: str) -> dict[str, bool]:
    """Return the arguments that a torchvision network is built with."""
    if name in {"googlenet", "inception_v3"}:
        # their pretrained weights need another normalisation; `transform_input` converts from ImageNet's
        return {"aux_logits": False, "init_weights": True, "transform_input": True}
    if name.startswith(("resnet", "resnext", "wide_resnet")):
        # each block then starts as the identity, which trains faster from random weights (Goyal et al. 2017)
        return {"zero_init_residual": True}
    return {}


def _remove_head(network: nn.Module) -> tuple[tuple[str, ...], int]:
    """Remove the last layer in place; return the prefixes of its keys, and the width of its input.

    Dropout just before the last layer is removed as well, since the head of a task has its own.
    """
    name, head = next(
        (name, module) for name, module in reversed(list(network.named_modules()))
        if isinstance(module, nn.Linear | nn.Conv2d)
    )  # fmt: skip
    parent_name, _, last = name.rpartition(".")
    parent = network.get_submodule(parent_name)
    if isinstance(head, nn.Conv2d):  # SqueezeNet classifies by a convolution, then pools
        setattr(network, parent_name, nn.AdaptiveAvgPool2d(1))
        return (f"{parent_name}.",), head.in_channels
    setattr(parent, last, nn.Identity())
    before = str(int(last) - 1) if last.isdigit() else "dropout"  # GoogLeNet and Inception have an attribute
    if isinstance(dict(parent.named_children()).get(before), nn.Dropout):
        setattr(parent, before, nn.Identity())
    return (f"{name}.", "AuxLogits.", "aux1.", "aux2."), head.in_features


def _is_path(weights: str) -> bool:
    return "/" in weights or Path(weights).suffix in {".pt", ".pth", ".safetensors"}


def _read_weights(name: str, weights: str) -> dict[str, Tensor]:
    if _is_path(weights):
        return read_state_dict(Path(weights))
    try:
        entry = torchvision.models.get_model_weights(name)[weights]
    except KeyError:
        known = ", ".join(sorted(torchvision.models.get_model_weights(name).__members__))
        raise InputError(f"{name} has no weights {weights!r}; give one of {known}, {A_FILE}, or null") from None
    try:
        with time_limit():
            return dict(entry.get_state_dict(progress=True, check_hash=True, weights_only=True))
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        fetched = Path(torch.hub.get_dir(), "checkpoints", Path(entry.url).name)
        if fetched.exists():
            return read_state_dict(fetched)  # its message says what is wrong with the file
        failed = f"cannot fetch weights {weights!r} of {name} from {entry.url} ({error})"
        raise UnreachableWeightsError(failed) from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from a `.pt` or `.safetensors` file; code in the file is never run.

    Args:
        path: file written by `torch.save`, or by safetensors as the Hugging Face hub has them.

    Raises:
        InputError: the file does not exist, is damaged, or is not a state_dict.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    state = read_plain(path, "weights file")
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"weights file {path} is not a state_dict (a mapping of names to tensors)")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"no weights file {path}") from None
    except (OSError, SafetensorError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read weights file {path}: {said}") from error


def read_plain(path: str | Path, what: str) -> Any:
    """Read tensors and plain values that `torch.save` wrote, onto the CPU; code in the file is never run.

    Args:
        path: file written by `torch.save`.
        what: its kind, for the message.

    Raises:
        InputError: the file does not exist, cannot be read, is damaged, or holds other objects.
    """
    if "://" in str(path):
        raise InputError(f"{path} is an address, the {what} has to be a file: download it first")
    try:
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"no {what} {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except Exception as error:  # a damaged file raises anything: KeyError, IndexError, struct.error, ...
        raise InputError(
            f"cannot read {what} {path}: it is damaged, not written by torch.save, or holds code, which is never run"
        ) from error


def _load_into(network: nn.Module, state: dict[str, Tensor], head_keys: tuple[str, ...], what: str) -> None:
    backbone = {key: value for key, value in state.items() if not key.startswith(head_keys)}
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - backbone.keys()), sorted(backbone.keys() - own.keys())
    misshapen = sorted(key for key in own.keys() & backbone.keys() if own[key].shape != backbone[key].shape)
    for problem, keys in (("lack", missing), ("have unknown", unknown), ("have another shape at", misshapen)):
        if keys:
            raise InputError(f"{what} {problem} {keys[0]}" + (f" and {len(keys) - 1} more" if keys[1:] else ""))
    network.load_state_dict(backbone)

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from carsfg.errors import InputError
from carsfg.models import fetched_weights
from carsfg.models.backbones import (
    build_backbone,
    check_backbone,
    read_plain,
    read_state_dict,
    skip_weights,
    weights_are_skipped,
)

SMALL = "mobilenet_v3_small"


class Hostile:
    """Unpickling it makes a file."""

    def __init__(self, makes: Path) -> None:
        self.makes = makes

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.makes),)


def state_of(name: str = SMALL) -> dict[str, Tensor]:
    """The state_dict of a whole network, head included."""
    state: dict[str, Tensor] = torchvision.models.get_model(name, weights=None).state_dict()
    return state


def same(network: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "width", "side"),
    [
        ("resnet18", 512, 32),
        ("densenet121", 1024, 32),
        ("mobilenet_v2", 1280, 32),
        (SMALL, 1024, 32),
        ("efficientnet_b0", 1280, 32),
        ("squeezenet1_1", 512, 32),
        ("shufflenet_v2_x0_5", 1024, 32),
        ("mnasnet0_5", 1280, 32),
        ("regnet_y_400mf", 440, 32),
        ("googlenet", 1024, 32),
        ("convnext_tiny", 768, 32),
    ],
)
def test_backbone_without_head(name: str, width: int, side: int) -> None:
    backbone, told = build_backbone(name)
    assert told == width
    assert backbone.eval()(torch.zeros(2, 3, side, side)).shape == (2, width)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "side"),
    [("vgg11", 4096, 32), ("vit_b_16", 768, 224), ("swin_t", 768, 64), ("inception_v3", 2048, 96)],
)
def test_large_backbone_without_head(name: str, width: int, side: int) -> None:
    test_backbone_without_head(name, width, side)


@pytest.mark.parametrize("name", ["mobilenet_v2", SMALL, "efficientnet_b0", "googlenet", "squeezenet1_1"])
def test_dropout_of_the_head_is_gone(name: str) -> None:
    assert [module for module in build_backbone(name)[0].modules() if isinstance(module, nn.Dropout)] == []


def test_unknown_backbone_suggests_one() -> None:
    with pytest.raises(InputError, match=r"unknown backbone 'resnet5O' \(did you mean 'resnet50'\?\)"):
        build_backbone("resnet5O")
    with pytest.raises(InputError, match="unknown backbone 'fcn_resnet50'"):  # of torchvision, but it segments
        build_backbone("fcn_resnet50")


@pytest.mark.parametrize("name", [SMALL, "squeezenet1_1", "googlenet"])
def test_weights_with_head(name: str, tmp_path: Path) -> None:
    state = state_of(name)
    torch.save(state, tmp_path / "whole.pt")
    backbone, _ = build_backbone(name, str(tmp_path / "whole.pt"))
    assert same(backbone, state)


def test_weights_without_head(tmp_path: Path) -> None:
    state = {key: value for key, value in state_of().items() if not key.startswith("classifier.3.")}
    torch.save(state, tmp_path / "backbone.pt")
    assert same(build_backbone(SMALL, str(tmp_path / "backbone.pt"))[0], state)


FIRST = "features.0.0.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({FIRST: None}, f"lack {FIRST}"),
        ({FIRST: None, "features.0.1.bias": None}, "lack features.0.0.weight and 1 more"),
        ({"neck.weight": torch.zeros(1)}, "have unknown neck.weight"),
        ({FIRST: torch.zeros(16, 1, 3, 3)}, f"have another shape at {FIRST}"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Tensor | None], words: str, tmp_path: Path) -> None:
    state = {key: value for key, value in {**state_of(), **change}.items() if value is not None}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError) as caught:
        build_backbone(SMALL, str(tmp_path / "w.pt"))
    assert str(caught.value) == f"weights {str(tmp_path / 'w.pt')!r} for {SMALL} {words}"


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    path, made = tmp_path / "w.pt", tmp_path / "made"
    with pytest.raises(InputError, match=r"no weights file .*w\.pt"):
        read_state_dict(path)
    with pytest.raises(InputError, match=r"cannot read weights file .*: Is a directory"):
        read_state_dict(tmp_path)
    torch.save({"a": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    torch.save({"a": Hostile(made)}, path)
    hostile = path.read_bytes()
    # pickle's own words for "pop from an empty stack" and "get what was never put"
    for content in (whole[: len(whole) // 2], b"", b"hello there", b"\x80\x02.", b"\x80\x02h\x07.", hostile):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot read weights file .*w\.pt: it is damaged, .* or holds code"):
            read_state_dict(path)
    assert not made.exists()


def test_safetensors_are_read(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"^no weights file .*w\.safetensors$"):
        read_state_dict(file)
    save_file({"a": torch.tensor([1.0, 2.0])}, file)
    ((name, tensor),) = read_state_dict(file).items()
    assert (name, tensor.tolist()) == ("a", [1, 2])
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"^cannot read weights file .*w\.safetensors: "):
        read_state_dict(file)


@pytest.mark.parametrize("value", [[1, 2], {"state_dict": {"a": 1}}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_values_that_are_no_state_dict(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt is not a state_dict"):
        read_state_dict(tmp_path / "w.pt")
    read_plain(tmp_path / "w.pt", "file")  # while it is harmless


def test_unknown_weights_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"resnet50 has no weights 'IMAGENET'; give one of .*IMAGENET1K_V1.*V2"):
        build_backbone("resnet50", "IMAGENET")


def test_skip_weights_ends_whatever_happens(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pt")

    def fails_inside() -> None:
        with skip_weights():
            build_backbone(SMALL, missing)
            assert weights_are_skipped()
            raise KeyError

    with pytest.raises(KeyError):
        fails_inside()
    assert not weights_are_skipped()
    with pytest.raises(InputError):
        build_backbone(SMALL, missing)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, ThreadingHTTPServer]]:
    """A local server that MobileNet's weights are fetched from: the file it serves, and the server."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    (tmp_path / "www").mkdir()
    torch.save(state_of(), tmp_path / "www" / "w.pth")
    content = (tmp_path / "www" / "w.pth").read_bytes()
    file = tmp_path / "www" / f"w-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file.write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    weights = torchvision.models.get_model_weights(SMALL)["IMAGENET1K_V1"].value
    url = weights.url
    object.__setattr__(weights, "url", f"http://127.0.0.1:{server.server_port}/{file.name}")
    yield file, server
    object.__setattr__(weights, "url", url)
    server.shutdown()
    server.server_close()
    thread.join()


def test_named_weights_are_fetched_once(served: tuple[Path, ThreadingHTTPServer]) -> None:
    file, _ = served
    state = torch.load(file, weights_only=True)
    assert same(build_backbone(SMALL, "IMAGENET1K_V1")[0], state)
    file.unlink()
    assert same(build_backbone(SMALL, "DEFAULT")[0], state)


def test_weights_that_cannot_be_fetched(served: tuple[Path, ThreadingHTTPServer], tmp_path: Path) -> None:
    file, server = served
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"cannot fetch weights 'DEFAULT' of mobilenet_v3_small from http.*hash"):
        build_backbone(SMALL, "DEFAULT")
    assert list((tmp_path / "hub").rglob("*.*")) == []  # nothing that a next run would take for the weights
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"refused.*; give --model\.weights the path") as caught:
        build_backbone(SMALL, "DEFAULT")
    assert "\n" not in str(caught.value)


def test_a_server_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(fetched_weights, "SILENT_SECONDS", 0.3)
    weights = torchvision.models.get_model_weights(SMALL)["IMAGENET1K_V1"].value
    url = weights.url
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and never answers
        object.__setattr__(weights, "url", f"http://127.0.0.1:{server.getsockname()[1]}/w-0123abcd.pth")
        try:
            with pytest.raises(InputError, match=r"cannot fetch weights .*timed out\); give --model\.weights the path"):
                build_backbone(SMALL, "DEFAULT")
        finally:
            object.__setattr__(weights, "url", url)
    assert list((tmp_path / "hub").rglob("*.*")) == []
    assert socket.getdefaulttimeout() is None


def test_weights_that_are_not_there(served: tuple[Path, ThreadingHTTPServer], tmp_path: Path) -> None:
    served[0].unlink()
    with pytest.raises(InputError, match=r"HTTP Error 404.*\); give --model\.weights the path of a state_dict"):
        build_backbone(SMALL, "DEFAULT")
    assert list((tmp_path / "hub").rglob("*.*")) == []


def test_hostile_weights_are_not_run(served: tuple[Path, ThreadingHTTPServer], tmp_path: Path) -> None:
    hub = tmp_path / "hub" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save({"a": Hostile(tmp_path / "made")}, hub / served[0].name)
    with pytest.raises(InputError, match=r"cannot read weights file .*hub.*\.pth: .* holds code, which is never run"):
        build_backbone(SMALL, "DEFAULT")
    assert not (tmp_path / "made").exists()


def test_random_residual_blocks_begin_as_the_identity() -> None:
    backbone, _ = build_backbone("resnet18")
    block = backbone.get_submodule("layer1.0").eval()
    images = torch.rand(2, 64, 8, 8)
    assert torch.equal(block(images), images)


class Odd(nn.Module):
    """Gives an output of any kind for each image."""

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, images: Tensor) -> Any:
        return {"out": images} if self.shape is None else torch.zeros(len(images), *self.shape)


@pytest.mark.parametrize(
    ("shape", "said"), [((49, 8), r"\(1, 49, 8\)"), ((9,), r"\(1, 9\)"), ((8, 1, 1), r"\(1, 8, 1, 1\)"), (None, "dict")]
)
def test_networks_of_odd_outputs(shape: tuple[int, ...] | None, said: str) -> None:
    with pytest.raises(InputError, match=f"'odd' gives {said} for one image, not one vector of 8 numbers"):
        check_backbone(Odd(shape), 32, "odd", 8)
    check_backbone(Odd((8,)), 32, "odd", 8)


def test_trying_a_backbone_changes_nothing() -> None:
    backbone, width = build_backbone("resnet18")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    random = torch.random.get_rng_state()
    backbone.train()
    check_backbone(backbone, 32, "resnet18", width)
    assert all(module.training for module in backbone.modules())
    assert same(backbone, before)
    assert torch.equal(torch.random.get_rng_state(), random)

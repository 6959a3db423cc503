"""timm's weights by name, from a server that plays the hub: fetched once, and no fault leaves anything behind."""

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save
from torch import Tensor

from carsfg.cli import main
from carsfg.models.backbones import build_backbone
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from tests.conftest import TINY_RESNET

FILE = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
CHUNK_BYTES = 2**16
COMMIT = "0123456789" * 4
CONFIG = f"""
model:
  class_path: carsfg.CarClassifier
  init_args: {{backbone: {TINY_RESNET}, image_size: 32, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
data: {{class_path: carsfg.StanfordCarsDataModule, init_args: {{val: none, batch_size: 8}}}}
trainer: {{max_epochs: 1, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu, logger: false}}
"""


class Hub:
    """Serves the weights of timm's smallest ResNet, with a fault if it is told one.

    Args:
        folder: of the cache of the library.
    """

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.cache = folder / "hub"
        self.state: dict[str, Tensor] = timm.create_model("test_resnet").state_dict()
        self.content = save(self.state)
        self.fault, self.downloads = "", list[str]()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a HEAD or GET request, a range included, as the hub does."""
        whole, start = self.content, 0
        if request.command == "GET" and request.path == FILE:
            self.downloads.append(request.headers.get("Range", "whole"))
        if self.fault == "missing" or request.path != FILE:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("X-Repo-Commit", COMMIT)
            request.end_headers()
            return
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        else:
            request.send_response(200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{hashlib.sha256(whole).hexdigest()}"')
        request.send_header("Content-Length", str(len(whole) - start))
        request.end_headers()
        if request.command == "GET":
            self.send(request, whole[start:], first=start == 0)

    def send(self, request: BaseHTTPRequestHandler, body: bytes, first: bool) -> None:
        """Send the body of an answer, or what the fault leaves of it."""
        half = len(body) // 2
        if self.fault == "silent" or (self.fault == "silent once" and first):
            request.wfile.write(body[:half] if first else b"")
            request.wfile.flush()
            time.sleep(1)
        elif self.fault == "cut" or (self.fault == "cut once" and first):
            request.wfile.write(body[:half] if first else b"")
        elif self.fault == "flipped":
            request.wfile.write(body[:-4] + bytes(4))
        elif self.fault == "not weights":
            request.wfile.write(b"<html>" + bytes(len(body) - 6))
        else:
            request.wfile.write(body)

    def left(self) -> list[str]:
        """Names of the files that a next run could take for weights."""
        return [path.name for path in self.cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine. The library reads its variables when it is imported, so their values are set here."""
    made = Hub(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(made.cache))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK_BYTES)  # 10 MB, the unit of a resume
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def is_fetched(hub: Hub) -> bool:
    state = build_backbone(TINY_RESNET, "DEFAULT")[0].state_dict()
    return all(torch.equal(value, hub.state[key]) for key, value in state.items())


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Runs a `carsfg fit` that needs the weights; gives the line that it ends with."""
    monkeypatch.chdir(tmp_path)
    draw_cars(tmp_path / "cars", DrawnCars(classes=3, train=3, test=1), progress=False)
    Path("tiny.yaml").write_text(CONFIG)

    def run() -> str:
        assert main(["fit", "--config=tiny", f"--data.root={tmp_path / 'cars'}"]) == 2
        (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("carsfg: error: ")]
        return line

    return run


def test_weights_are_fetched_once(hub: Hub) -> None:
    assert is_fetched(hub)
    assert is_fetched(hub)
    assert hub.downloads == ["whole"]


@pytest.mark.parametrize("fault", ["silent once", "cut once"])
def test_a_download_that_broke_off_goes_on(fault: str, hub: Hub) -> None:
    hub.fault = fault
    assert is_fetched(hub)
    assert hub.downloads == ["whole", f"bytes={len(hub.content) // 2 // CHUNK_BYTES * CHUNK_BYTES}-"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "404 Client Error"),
        ("flipped", r"fetched from timm/test_resnet\.r160_in1k are damaged \(their SHA-256 differs\) and were deleted"),
        ("not weights", r"are damaged \(their SHA-256 differs\)"),
        pytest.param("silent", "timed out", marks=pytest.mark.slow),  # seven seconds of retries
        pytest.param("cut", "peer closed connection", marks=pytest.mark.slow),
    ],
)
def test_a_fault_ends_in_one_line(fault: str, said: str, hub: Hub, fit: Callable[[], str]) -> None:
    hub.fault = fault
    line = fit()
    assert re.search(said, line), line
    assert "'test_resnet'" in line
    assert line.endswith("give --model.weights the path of a state_dict, or null for random weights")
    assert hub.left() == []
    hub.fault = ""
    assert is_fetched(hub)


@pytest.mark.slow
def test_the_variables_of_the_library(hub: Hub, fit: Callable[[], str], tmp_path: Path) -> None:
    del fit  # which has drawn cars here
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    root = str(Path(__file__).parents[2])
    words = [sys.executable, "-m", "carsfg", "fit", "--config=tiny", f"--data.root={tmp_path / 'cars'}"]
    subprocess.run(words, env={**os.environ, **variables, "PYTHONPATH": root}, check=True)
    assert hub.downloads == ["whole"]
    assert len(list((tmp_path / "home" / "hub").rglob("model.safetensors"))) == 1

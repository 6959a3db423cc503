"""A server on this machine that plays Kaggle, Hugging Face and a plain web server, faults included."""

import hashlib
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.data.conftest import Photo, write_cars

STALL_SECONDS = 30.0  # longer than any timeout in the tests
SHA = "5" * 40
KAGGLE_VERSION = 7


class Handler(BaseHTTPRequestHandler):
    """Answers from `server.files`, in ranges too; `server.faults` says how often and how a path fails."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.server.asked.append((self.command, path, start))
        if path.startswith("/api/datasets/"):
            self.answer_hub(path.removeprefix("/api/datasets/"))
        else:
            self.send(path, start)

    do_HEAD = do_GET  # noqa: N815  (the name that http.server calls)

    def do_POST(self) -> None:
        """Play Kaggle: the client's requests are JSON, and downloads are redirected."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urlsplit(self.path).path
        self.server.asked.append(("POST", path, 0))
        repository = f"{asked['ownerSlug']}/{asked['datasetSlug']}"
        if self.failed(path, b"") or f"/kaggle/{repository}" not in self.server.files:
            if not self.server.failing:
                self.send_error(404)
        elif path.endswith("/GetDataset"):
            self.send_json({"ownerRef": asked["ownerSlug"], "currentVersionNumber": KAGGLE_VERSION})
        else:
            self.send_response(302)
            self.send_header("Location", f"http://localhost/kaggle/{repository}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer_hub(self, rest: str) -> None:
        """Play Hugging Face's description of a data set."""
        repository = "/".join(rest.split("/")[:2])
        prefix = f"/datasets/{repository}/resolve/{SHA}/"
        names = [name.removeprefix(prefix) for name in self.server.files if name.startswith(prefix)]
        if self.failed(f"/api/datasets/{repository}", b""):
            return
        if not names:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif "/tree/" in rest:
            body = [
                {"type": "file", "path": name, "size": len(self.server.files[prefix + name]), "oid": "0" * 40}
                for name in names
            ]
            self.send_json(body)
        else:
            self.send_json({"id": repository, "sha": SHA, "siblings": [{"rfilename": name} for name in names]})

    def send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def failed(self, path: str, body: bytes) -> bool:
        """Fail as planned for this path, if it is planned to fail now and without a body."""
        self.server.failing = False
        fault, times = next((one for word, one in self.server.faults.items() if word in path), ("", 0))
        if not times or fault in ("cut", "stall half", "bytes") or self.command == "HEAD":
            return False
        self.server.plan(path, -1)
        self.server.failing = True
        if fault == "stall":
            time.sleep(STALL_SECONDS) if not self.server.closing.wait(STALL_SECONDS) else None
        else:
            self.send_error(int(fault))
        self.close_connection = True
        return True

    def send(self, path: str, start: int) -> None:
        """Send a file or the rest of it, whole or spoilt."""
        if self.failed(path, b""):
            return
        if path not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[path]
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if self.headers["If-None-Match"] == tag:
            self.send_response(304)
            self.end_headers()
            return
        if self.headers["If-Range"] not in (None, tag):
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(path, body, start)

    def send_body(self, path: str, body: bytes, start: int) -> None:
        fault, times = next((one for word, one in self.server.faults.items() if word in path), ("", 0))
        if not times:
            self.wfile.write(body[start:])
            return
        self.server.plan(path, -1)
        if fault == "bytes":
            self.wfile.write(bytes(255 - one for one in body[start:]))
            return
        self.wfile.write(body[start : start + (len(body) - start) // 2])
        self.wfile.flush()
        if fault == "stall half":
            self.server.closing.wait(STALL_SECONDS)
        self.close_connection = True

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    """Files by path, planned faults by a part of the path, and what was asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.closing = threading.Event()
        self.failing = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, name: str, body: bytes) -> str:
        self.files[f"/{name}"] = body
        return f"{self.address}/{name}"

    def fail(self, path: str, fault: str, times: int = 1) -> None:
        """Let the next requests for a path fail: 404, 500, `stall`, `stall half`, `cut` or `bytes`."""
        self.faults[path] = (fault, times)

    def plan(self, path: str, change: int) -> None:
        for word, (fault, times) in self.faults.items():
            if word in path:
                self.faults[word] = (fault, times + change)
                return

    def handle_error(self, *_: object) -> None: ...  # a client that was ended


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def kaggle(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server in the place of Kaggle, by settings of kagglehub and requests: http://localhost through a proxy."""
    pytest.importorskip("kagglehub", reason="needs the extra 'fetch'")
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("HTTP_PROXY", server.address)
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no token of this machine is sent
    return server


@pytest.fixture
def hugging_face(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server in the place of Hugging Face."""
    pytest.importorskip("huggingface_hub", reason="needs the extra 'fetch'")
    for name in ("HTTP_PROXY", "http_proxy", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The `stanford_cars` folder of a data set to pack."""
    return write_cars(tmp_path / "source", [Photo(), Photo(2)], [Photo(3)]) / "stanford_cars"


def zipped(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def contents(source: Path, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{path.relative_to(source)}": path.read_bytes() for path in source.rglob("*.*")}

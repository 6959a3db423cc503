"""The web server: which requests it accepts, its headers, and that it stores nothing."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from carsfg.app.server import DISCARD_FACTOR, MAX_BODY_BYTES, NOT_FOUND, NOT_TEXT, TOO_LARGE, Guard, build_server
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from tests.app.client import names, outcome, said, sent

ASK = "/gradio_api/call/search"
KEPT = Path(tempfile.gettempdir()) / "gradio"


@pytest.fixture(scope="module")
def client(search: VisualSearch) -> Iterator[TestClient]:
    with TestClient(build_server(search), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def photo(search: VisualSearch) -> str:
    assert search.gallery.thumbnails is not None
    return sent(search.gallery.thumbnails.jpeg(130))


def ask(client: TestClient, question: Any, *filters: str) -> str:
    answer = client.post(ASK, json={"data": [question, *(filters or ("any",) * 3)]})
    assert answer.status_code == 200
    return outcome(client.get(f"{ASK}/{answer.json()['event_id']}").text)


def kept() -> set[str]:
    """Returns the files that gradio has written to its temporary folder."""
    return {str(path) for path in KEPT.rglob("*")}


def test_a_photo_is_answered(client: TestClient, photo: str) -> None:
    assert names(ask(client, photo))[0] == "Aurora 5 Coupe 2002"
    assert {*names(ask(client, photo, "Dunmore", "any", "2012"))} == {"Dunmore C/V Cargo Van 2012"}
    assert (
        said(ask(client, photo, "Dunmore", "any", "1997")) == "The gallery holds no image with make Dunmore, year 1997"
    )
    assert "not in the list of choices" in ask(client, photo, "Ferrari", "any", "any")


def test_the_page_and_its_parts(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "carsfg: find the most similar cars" in page.text
    assert all(client.get(path).status_code == 200 for path in ("/config", "/theme.css", "/gradio_api/info"))
    parts = {one["props"].get("elem_id"): one["props"] for one in client.get("/config").json()["components"]}
    assert "240 images of 4 classes" in parts["about"]["value"]
    assert parts["examples"]["value"].count('aria-label="Example ') == 4  # drawn anew, as the gallery is drawn


def dropdowns(client: TestClient) -> dict[str, list[str]]:
    """Returns the choices of each filter by its label."""
    parts = [one["props"] for one in client.get("/config").json()["components"] if one["type"] == "dropdown"]
    return {one["label"]: [value for _, value in one["choices"]] for one in parts}


def test_a_filter_for_each_attribute_of_the_gallery(client: TestClient, search: VisualSearch, photo: str) -> None:
    assert dropdowns(client) == {
        "Make": ["any", "Aurora", "Dunmore", "Kestrel", "Meridian"],
        "Body": ["any", "Cab", "Coupe", "Van", "Wagon"],
        "Year": ["any", "1997", "2002", "2012"],
    }
    bare = Gallery(search.gallery.index, search.gallery.labels, [], search.gallery.class_names, "cosine")
    with TestClient(build_server(VisualSearch(search.task, bare))) as other:
        assert dropdowns(other) == {}
        event = other.post(ASK, json={"data": [photo]}).json()["event_id"]
        assert names(outcome(other.get(f"{ASK}/{event}").text))[0] == "Aurora 5 Coupe 2002"


@pytest.mark.parametrize("path", ["/", "/config", "/nowhere", "/gradio_api/upload", ASK])
def test_headers(path: str, client: TestClient) -> None:
    for answer in (
        client.get(path),
        client.post(path, content=b"{"),
        client.post(path, content=bytes(MAX_BODY_BYTES + 1)),
    ):
        rules = answer.headers["content-security-policy"]
        assert "default-src 'self';" in rules
        assert "frame-ancestors 'none'" in rules
        assert "http" not in rules
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/%75pload", "/gradio_api/upload_progress",
        "/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/file=/etc/passwd", "/gradio_api/api/search",
        "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/run/search", "/gradio_api/call/v2/search",
        "/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/stream/1",
        "/gradio_api/deep_link", "/gradio_api/dev/reload", "/gradio_api/vibe-edit/", "/gradio_api/reset",
        "/gradio_api/run-history/buckets", "/gradio_api/profiling/traces", "/gradio_api/openapi.json",
        "/gradio_api/call/lambda", "/monitoring", "/monitoring/summary", "/docs", "/openapi.json", "/login",
        "/pwa_icon", "//gradio_api/upload",
    ],
)  # fmt: skip
def test_all_other_paths_are_closed(path: str, client: TestClient) -> None:
    for answer in (client.get(path), client.post(path, files={"files": b"x"}), client.post(path, json={"data": []})):
        assert (answer.status_code, answer.text) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    "data",
    [
        [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "any", "any", "any"],
        [{"path": "https://example.org/", "url": "https://example.org/", "meta": {"_type": "gradio.FileData"}}],
        ["{}", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "any", "any"],
        ["{}", ["any"], "any", "any"],
        [5, "any", "any", "any"],
        "{}",
        {"0": "{}"},
        None,
    ],
)
def test_files_are_neither_copied_nor_fetched(data: Any, client: TestClient) -> None:
    """Gradio would copy or fetch files that are named in its file objects."""
    before = kept()
    for path in (ASK, "/gradio_api/queue/join"):
        answer = client.post(path, json={"data": data, "session_hash": "s", "fn_index": 0})
        assert (answer.status_code, answer.text) == (422, NOT_TEXT)
    assert kept() == before


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"{}", b"[" * 100_000, b'{"data":' + b"[" * 100_000, b"\xff\xfe"]
)
def test_broken_questions(body: bytes, client: TestClient) -> None:
    answer = client.post(ASK, content=body)
    assert (answer.status_code, answer.text) == (422, NOT_TEXT)


def test_bodies_above_the_limit(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(31):
            yield bytes(2**20)

    for content in (bytes(MAX_BODY_BYTES + 1), pieces()):
        answer = client.post(ASK, content=content)
        assert (answer.status_code, answer.text) == (413, TOO_LARGE)
    assert "too large" in said(
        ask(client, " " * (MAX_BODY_BYTES - 1000))
    )  # below the limit for requests, above the limit for photos


def test_an_endless_body_is_cut_off() -> None:
    heard, told = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal heard
        heard += 1
        return {"type": "http.request", "body": bytes(10), "more_body": True}

    async def send(message: Any) -> None:
        told.append(message)

    async def app(*_: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": ASK, "headers": []}
    asyncio.run(Guard(app, max_body_bytes=100)(scope, receive, send))
    assert told[0]["status"] == 413
    assert heard == DISCARD_FACTOR * 10 + 1


def test_nothing_is_written_and_nothing_kept(client: TestClient, photo: str) -> None:
    before = kept()
    for question in (photo, "no photo", photo):
        ask(client, question)
    client.get("/")
    assert kept() == before
    blocks = next(route.app.get_blocks() for route in client.app.routes if hasattr(route, "app"))  # type: ignore[attr-defined]
    assert len(blocks.state_holder.session_data) <= 1  # gradio keeps the last inputs of a session

"""The web server: request filter and security headers around the page."""

import json
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carsfg.app.page import SCRIPT, STYLE, build_page, theme
from carsfg.search.engine import VisualSearch

MAX_BODY_BYTES = 30 * 2**20
DISCARD_FACTOR = 8  # oversized bodies are read up to this multiple of the limit, see `Guard`
TOO_LARGE = "request too large; use a photo of at most 20 MB"
NOT_FOUND = "page not found; photos are part of the search request"
NOT_TEXT = "malformed request; `data` must be a list of strings"
OPEN_PATHS = (  # needed by the page; all other paths of gradio (uploads, files, proxies) are closed
    "/assets/", "/config", "/favicon.ico", "/gradio_api/call/search", "/gradio_api/heartbeat/", "/gradio_api/info",
    "/gradio_api/queue/", "/gradio_api/startup-events", "/gradio_api/theme.css", "/static/", "/svelte/", "/theme.css",
)  # fmt: skip
CONTENT_POLICY = (  # the page loads nothing from other hosts
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """ASGI middleware that refuses oversized and malformed requests and unknown paths, and adds security headers.

    Bodies above the limit are discarded, but read up to `DISCARD_FACTOR` times the limit: a client that is still
    sending would not see the response otherwise.

    Args:
        app: application that answers all accepted requests.
        max_body_bytes: largest accepted request body in bytes, with or without a Content-Length header.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.app, self.max_body_bytes = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        messages = await self._read(receive)

        async def read_again() -> Message:
            return messages.pop(0) if messages else await receive()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        return await (_refuse(scope, messages) or self.app)(scope, read_again, with_headers)

    async def _read(self, receive: Receive) -> list[Message]:
        """Read the request body; return an empty list if it is too large."""
        messages: list[Message] = []
        size, more = 0, True
        while more and size <= DISCARD_FACTOR * self.max_body_bytes:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            messages.append(message)
            if size > self.max_body_bytes:
                messages.clear()
        return messages


def _refuse(scope: Scope, messages: list[Message]) -> ASGIApp | None:
    """Return an error response, or None if the request is accepted."""
    if scope["path"] != "/" and not scope["path"].startswith(OPEN_PATHS):
        return PlainTextResponse(NOT_FOUND, 404)
    if not messages:
        return PlainTextResponse(TOO_LARGE, 413)
    if scope["method"] == "POST" and not _is_text(b"".join(message.get("body", b"") for message in messages)):
        return PlainTextResponse(NOT_TEXT, 422)
    return None


def _is_text(body: bytes) -> bool:
    """Return whether all inputs are strings or null: gradio would fetch or copy files that are named in objects."""
    try:
        data = json.loads(body)["data"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return isinstance(data, list) and all(one is None or isinstance(one, str) for one in data)


def build_server(search: VisualSearch) -> FastAPI:
    """Build the web application: the page behind a `Guard`.

    Args:
        search: gallery and the network that embedded it.
    """
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    parts: dict[str, Any] = {"ssr_mode": False, "pwa": False, "mcp_server": False, "run_history": False}
    looks: dict[str, Any] = {"theme": theme(), "css": STYLE, "js": SCRIPT, "footer_links": []}
    gr.mount_gradio_app(server, build_page(search), "/", **parts, **looks)
    server.add_middleware(Guard)
    return server


def serve(search: VisualSearch, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Run the web server until Ctrl-C.

    Args:
        search: gallery and the network that embedded it.
        host: address to listen on; other addresses than 127.0.0.1 make the page visible to other machines.
        port: TCP port to listen on.
    """
    # workers: else uvicorn reads the variable WEB_CONCURRENCY
    uvicorn.run(build_server(search), host=host, port=port, log_level="warning", workers=1)

"""The server round the page: what it lets in, and what it tells the browser."""

import json
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carsfg.app.page import SCRIPT, STYLE, build_page, theme
from carsfg.search.engine import VisualSearch

MOST, HEARD = 30 * 2**20, 8  # bytes of a request, and how many times that is read before the line is cut
TOO_LARGE = "This is too large: photos of up to 20 MB are taken."
NOT_HERE = "There is nothing here: the page sends photos with its questions."
NOT_TEXT = "This is not what the page sends: it asks with `data`, a list of texts."
OPEN = (  # what the page needs; all else of gradio's, such as uploads, files and proxies, is closed
    "/assets/", "/config", "/favicon.ico", "/gradio_api/call/search", "/gradio_api/heartbeat/", "/gradio_api/info",
    "/gradio_api/queue/", "/gradio_api/startup-events", "/gradio_api/theme.css", "/static/", "/svelte/", "/theme.css",
)  # fmt: skip
POLICY = (  # the page is made of its own parts: no request leaves for another host
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Keeps out what is too large, said or not, and what the page would not send, and adds the headers above.

    Args:
        app: what answers the rest.
        most: bytes of a request.
    """

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
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
        """Read what is sent. Of what is too large nothing is kept, but most is heard out, or no answer would be."""
        messages: list[Message] = []
        size, more = 0, True
        while more and size <= HEARD * self.most:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            messages.append(message)
            if size > self.most:
                messages.clear()
        return messages


def _refuse(scope: Scope, messages: list[Message]) -> ASGIApp | None:
    """Return what to answer in place of the page, if anything."""
    if scope["path"] != "/" and not scope["path"].startswith(OPEN):
        return PlainTextResponse(NOT_HERE, 404)
    if not messages:
        return PlainTextResponse(TOO_LARGE, 413)
    if scope["method"] == "POST" and not _is_text(b"".join(message.get("body", b"") for message in messages)):
        return PlainTextResponse(NOT_TEXT, 422)
    return None


def _is_text(body: bytes) -> bool:
    """Whether a question holds texts alone: gradio would fetch or copy the files that objects name."""
    try:
        data = json.loads(body)["data"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return isinstance(data, list) and all(one is None or isinstance(one, str) for one in data)


def build_server(search: VisualSearch) -> FastAPI:
    """Put the page behind its limits.

    Args:
        search: network and gallery.
    """
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    parts: dict[str, Any] = {"ssr_mode": False, "pwa": False, "mcp_server": False, "run_history": False}
    looks: dict[str, Any] = {"theme": theme(), "css": STYLE, "js": SCRIPT, "footer_links": []}
    gr.mount_gradio_app(server, build_page(search), "/", **parts, **looks)
    server.add_middleware(Guard)
    return server


def serve(search: VisualSearch, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve until Ctrl-C.

    Args:
        search: network and gallery.
        host: the address to listen on; others than 127.0.0.1 are seen by other machines.
        port: likewise.
    """
    uvicorn.run(build_server(search), host=host, port=port, log_level="warning")

"""A client that talks to the server as the page does, without a browser."""

import base64
import http.client
import io
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from PIL import Image


def sent(data: bytes, kind: str = "image/jpeg", **more: Any) -> str:
    """Returns the JSON that the page sends for a photo."""
    return json.dumps({"image": f"data:{kind};base64,{base64.b64encode(data).decode()}", **more})


def encoded(image: Image.Image, kind: str = "PNG", **kwargs: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **kwargs)
    return file.getvalue()


def names(page: str) -> list[str]:
    """Returns the classes of the results, nearest first."""
    return re.findall(r'<img src="[^"]+" alt=""><span class="name">([^<]*)</span>', page)


def pictures(page: str) -> list[bytes]:
    """Returns the JPEG files of the results, nearest first."""
    return [
        base64.b64decode(one) for one in re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt=""><span', page)
    ]


def said(page: str) -> str:
    """Returns the error message on a page."""
    (words,) = re.findall(r'<p class="problem" role="alert">([^<]*)</p>', page)
    return str(words)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Client:
    """Sends requests to a server in another process."""

    port: int
    pid: int = 0

    def post(self, body: bytes | Any, path: str = "/gradio_api/call/search", **kwargs: Any) -> tuple[int, str]:
        """Returns status and text of a POST."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("POST", path, body, {"content-type": "application/json"}, **kwargs)
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def get(self, path: str) -> tuple[int, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def ask(self, question: Any, *filters: str) -> str:
        """Returns the HTML of an answer, or the error response."""
        status, text = self.post(json.dumps({"data": [question, *(filters or ("any",) * 3)]}).encode())
        if status != 200:
            return text
        return outcome(self.get(f"/gradio_api/call/search/{json.loads(text)['event_id']}")[1])

    def memory(self) -> int:
        """Returns the server's resident memory, in KB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:  # noqa: PTH123
            (line,) = (one for one in lines if one.startswith("VmRSS:"))
        return int(line.split()[1])


def outcome(events: str) -> str:
    """Returns the HTML or the error in the last event of a stream."""
    kind, _, data = events.strip().rpartition("\n\n")[2].partition("\ndata: ")
    told = json.loads(data)
    if kind == "event: complete":
        return str(told[0])
    assert kind == "event: error"
    return str(told["error"])

"""A thousand hostile uploads: each ends in a clear message, and a good photo is answered right afterwards."""

import base64
import io
import json
import random
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import pytest
from PIL import Image

from carsfg.app.server import NOT_TEXT, TOO_LARGE
from carsfg.search.engine import VisualSearch
from tests.app.client import Client, encoded, names, sent

pytestmark = pytest.mark.slow

CLEAR = (
    "This file is not an image: JPEG, PNG, GIF, BMP, TIFF, WEBP",
    "This file cannot be decoded, it is damaged or cut off (",
    "This file has too many pixels: at most 100 million are read",
    "This file has 30000 x 30000 pixels: at most 100 million are read",
    "The photo is too large; use a photo of at most 20 MB",
    "Malformed request; reload the page and choose a photo",
    "The crop box is not four numbers; reload the page",
)
Question = str | bytes  # a photo's JSON, or the whole body of a request
Maker = Callable[[random.Random], Question]


def bomb(side: int = 30_000) -> bytes:
    """A PNG of 900 million pixels in a few bytes."""
    header = encoded(Image.new("L", (1, 1)))
    start = b"IHDR" + 2 * side.to_bytes(4, "big") + header[24:29]
    return header[:12] + start + zlib.crc32(start).to_bytes(4, "big") + header[33:]


def real_bomb() -> bytes:
    """One whose pixels are all there, in 110 KB."""
    start, rows = (
        b"IHDR" + 2 * (30_000).to_bytes(4, "big") + bytes([1, 0, 0, 0, 0]),
        zlib.compress(bytes(3751 * 30_000), 9),
    )
    chunks = (
        (len(part) - 4).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
        for part in (start, b"IDAT" + rows)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + b"\0\0\0\0IEND\xae\x42\x60\x82"


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("car.jpg", bytes(10**6))
    return file.getvalue()


def cut(kind: str) -> Maker:
    whole = encoded(Image.effect_noise((90, 60), 80).convert("RGB"), kind)
    return lambda draw: sent(whole[: draw.randrange(len(whole) - 20)], f"image/{kind.lower()}")


def altered(kind: str) -> Maker:
    """Bytes in the middle are others: a decoder may not notice, and answers then."""

    def make(draw: random.Random) -> str:
        data = bytearray(encoded(Image.effect_noise((40, 30), 80).convert("RGB"), kind))
        for _ in range(30):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return sent(bytes(data), raw=True)

    return make


def question(data: Any) -> bytes:
    return json.dumps({"data": data}).encode()


def boxed(box: str) -> Maker:
    photo = sent(encoded(Image.new("RGB", (30, 20))))[:-1]
    return lambda _: f'{photo}, "box": {box}}}'


def always(made: Question) -> Maker:
    return lambda _: made


PAGE = b"<html><script>alert(1)</script></html>"
PICTURE = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
FILES = (
    bomb(), real_bomb(), bomb(2**31 - 1), b"", PAGE, PICTURE, archive(), b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0\n",
)  # fmt: skip
NO_URLS = (
    "/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/", "data:", "data:;base64,=",
    "data:x;base64,\u00e9",
)  # fmt: skip
NO_JSON: tuple[Question, ...] = ("{", "[" * 50_000, '{"image":' * 50_000, "\0", "\ud800", "9" * 10_000, "null", "{}")
BOXES = (
    "[NaN,0,1,1]", "[0,0,1e999,1]", f"[0,0,1,{10**400}]", "[]", "{}", '"box"', "[[0],0,1,1]", "[null,0,1,1]",
    "[-1e300,-5,1e300,1e300]",
)  # fmt: skip
NO_QUESTIONS: tuple[Question, ...] = (
    b"",
    b"{",
    b"[" * 100_000,
    b'{"data":' * 50_000,
    *map(question, (None, [5], [{"path": "/etc/passwd"}])),
)
MAKERS: list[Maker] = [
    *map(cut, ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")),
    *map(altered, ("JPEG", "PNG", "GIF", "WEBP", "TIFF")),
    *(always(sent(data, kind)) for data in FILES for kind in ("image/png", "image/svg+xml")),
    *(always(sent(data, raw=True)) for data in FILES),
    *(always(json.dumps({"image": url})) for url in NO_URLS),
    *map(boxed, BOXES),
    *(always(one) for one in (*NO_JSON, *NO_QUESTIONS)),
    lambda draw: sent(draw.randbytes(draw.randrange(3000))),
    lambda draw: draw.randbytes(draw.randrange(3000)),
    lambda draw: sent(b"\xff\xd8\xff\xe0" + draw.randbytes(draw.randrange(3000))),
    lambda draw: sent(b"\x89PNG\r\n\x1a\n" + draw.randbytes(draw.randrange(3000))),
]  # fmt: skip


def hostile(count: int) -> Iterator[Question]:
    draw = random.Random(0)  # noqa: S311 - so that it is the same every time
    return (make(draw) for make in islice(cycle(MAKERS), count))


def is_clear(page: str) -> bool:
    """Whether it is a sentence that was meant, or an answer: decoders forgive much."""
    complaint = page.removeprefix('<p class="problem" role="alert">')
    return complaint.startswith(CLEAR) or page == NOT_TEXT or len(names(page)) == 12


@pytest.fixture(scope="module")
def good(search: VisualSearch) -> str:
    assert search.gallery.thumbnails is not None
    return sent(search.gallery.thumbnails.jpeg(70))


def test_a_thousand_hostile_uploads(server: Client, good: str) -> None:
    answered = 0
    for number, one in enumerate(hostile(1000)):
        page = server.post(one)[1] if isinstance(one, bytes) else server.ask(one)
        assert is_clear(page), (one[:200], page[:500])
        answered += bool(names(page))
        if number % 50 == 0:
            assert names(server.ask(good))[0] == "Dunmore C/V Cargo Van 2012"
    assert names(server.ask(good))[0] == "Dunmore C/V Cargo Van 2012"
    assert answered < 100  # altered ones alone


def test_bodies_of_100_megabytes(server: Client, good: str) -> None:
    """Whether they say so or not, the answer is heard; and the server does not keep them."""
    before, piece = server.memory(), base64.b64encode(bytes(3 * 2**18))
    for _ in range(2):
        assert server.post(piece * 100) == (413, TOO_LARGE)
        assert server.post(iter([piece] * 100), encode_chunked=True) == (413, TOO_LARGE)
        assert server.post(piece * 100, "/gradio_api/upload")[0] == 404
    assert names(server.ask(good))[0] == "Dunmore C/V Cargo Van 2012"
    assert server.memory() < before + 60 * 1024


def test_photos_of_20_megabytes(server: Client, search: VisualSearch) -> None:
    assert search.gallery.thumbnails is not None
    photo = search.gallery.thumbnails.jpeg(70)
    assert names(server.ask(sent(photo + bytes(20 * 2**20 - len(photo)))))[0] == "Dunmore C/V Cargo Van 2012"
    assert "The photo is too large" in server.ask(sent(photo + bytes(22 * 2**20)))


def test_broken_lines(server: Client, good: str) -> None:
    """Half a request, one that never goes on, and an answer that nobody fetches."""
    head = b"POST /gradio_api/call/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    waiting = []
    for rest in (
        b"",
        b"content-length: 100\r\n\r\n{",
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"content-length: -5\r\n\r\n",
    ):
        for _ in range(10):
            line = socket.create_connection(("127.0.0.1", server.port))
            line.sendall(head + rest)
            waiting.append(line)
            socket.create_connection(("127.0.0.1", server.port)).close()
    for _ in range(20):
        assert server.post(question([good, "any", "any", "any"]))[0] == 200
    assert names(server.ask(good))[0] == "Dunmore C/V Cargo Van 2012"
    for line in waiting:
        line.close()
    assert names(server.ask(good))[0] == "Dunmore C/V Cargo Van 2012"

"""The photos that `carsfg search` is to answer: files, folders, and paths from standard input."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from carsfg.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK_BYTES = 1 << 16


def list_photos(words: Sequence[str]) -> Iterator[str | InputError]:
    """Yield the path of each photo; for a folder that cannot be read or has no images, the error in its place.

    Args:
        words: files; folders, which stand for all images below them; `-` for the paths on standard input.
    """
    from carsfg.data.image_folder import is_folder
    from carsfg.data.image_listing import list_images

    for word in words:
        if word == "-":
            yield from read_paths(_standard_input())
        elif is_folder(word):
            try:
                found = list_images(word)
            except InputError as error:
                yield error
                continue
            if found.left_out:
                print(f"{word}: {found.left_out}", file=sys.stderr)  # noqa: T201
            yield from map(str, found.paths) if found.paths else [InputError(f"no image in {word}")]
        else:
            yield word


def read_paths(stream: BinaryIO) -> Iterator[str]:
    """Yield paths as they arrive: one per line, or separated by zero bytes as `find -print0` writes them.

    A zero byte in the first chunk decides for the latter, where names may contain line breaks. Lines may end as on
    Windows, and the list may begin with a byte order mark; empty lines are skipped.

    Args:
        stream: bytes in the encoding of file names.
    """
    read = stream.read1 if isinstance(stream, io.BufferedIOBase) else stream.read
    chunk = read(CHUNK_BYTES)
    separator, rest = b"\0" if b"\0" in chunk else b"\n", b""
    chunk = chunk.removeprefix(BYTE_ORDER_MARK)
    while chunk:
        *whole, rest = (rest + chunk).split(separator)
        yield from filter(None, (_path(one, separator) for one in whole))
        chunk = read(CHUNK_BYTES)
    if last := _path(rest, separator):
        yield last


def _path(entry: bytes, separator: bytes) -> str:
    """Decode an entry of a list; an empty text for one without a name."""
    if separator == b"\n":
        entry = entry.removesuffix(b"\r")
    return os.fsdecode(entry) if entry.strip() else ""


def _standard_input() -> BinaryIO:
    return sys.stdin.buffer

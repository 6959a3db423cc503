"""Download a file from an address; an interrupted download is continued."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from carsfg.errors import InputError
from carsfg.files import digest
from carsfg.progress import stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0  # without a byte received


def download(url: str, folder: Path, progress: bool = True, timeout: float = TIMEOUT_SECONDS) -> Path:
    """Download a file into a sub-folder of `folder`; a complete file that is unchanged on the server is kept.

    Args:
        url: http or https address.
        folder: created if needed; the file gets the last part of the address as its name, and ends in `.part` until it
            is complete. Its sub-folder is named after the address.
        progress: show a progress bar.
        timeout: seconds without a byte received.

    Raises:
        InputError: the address cannot be reached, or the connection is interrupted or stalls.
        OSError: the folder cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url} is not an http or https address")
    folder = folder / digest(url.encode())[:8]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (Path(unquote(urlsplit(url).path)).name or "download")
    part = target.with_name(f".{target.name}.part")
    tag = target.with_name(f".{target.name}.etag")  # ETag or date of the file and of its part
    answer = _open(url, target, part, tag, timeout)
    if answer is None:
        return target
    with answer:
        done = part.stat().st_size if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = answer.headers["Content-Length"]
        total = done + int(length) if length else None
        tag.write_text(answer.headers["ETag"] or answer.headers["Last-Modified"] or "")
        with part.open("ab" if done else "wb") as file, _bar(progress) as bar:
            task = bar.add_task(target.name, total=total, completed=done)
            for chunk in _chunks(answer, url, timeout):
                file.write(chunk)
                bar.advance(task, len(chunk))
    size = part.stat().st_size
    if total is not None and size != total:
        raise InputError(f"{url} was interrupted after {size:,} of {total:,} bytes: run the command again to continue")
    part.replace(target)
    return target


def _open(url: str, target: Path, part: Path, tag: Path, timeout: float) -> http.client.HTTPResponse | None:
    """Request a file, or only the rest if `part` is its beginning; None if `target` is what the server has."""
    request = urllib.request.Request(url, headers={"User-Agent": "carsfg"})  # noqa: S310  (download() checked it)
    known = tag.read_text() if tag.is_file() else ""
    if known and target.is_file():
        request.add_header("If-None-Match" if '"' in known else "If-Modified-Since", known)
    elif known and part.is_file():
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", known)
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_MODIFIED:
            return None
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.is_file():
            part.unlink()
            return _open(url, target, part, tag, timeout)
        raise InputError(f"{url} cannot be downloaded: {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _stalled(url, timeout) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise _stalled(url, timeout) from error
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
    return answer


def _stalled(url: str, timeout: float) -> InputError:
    return InputError(f"{url} sent nothing for {timeout:g} s: run the command again to continue")


def _chunks(answer: http.client.HTTPResponse, url: str, timeout: float) -> Iterator[bytes]:
    """Read a response in chunks; separate from writing, so that a full disk is not reported as a network error."""
    while True:
        try:
            chunk = answer.read1(CHUNK_BYTES)  # what has arrived, so that a stall loses nothing
        except TimeoutError as error:
            raise _stalled(url, timeout) from error
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{url} was interrupted ({error}): run the command again to continue") from error
        if not chunk:
            return
        yield chunk


def _bar(progress: bool) -> "Progress":
    """Return a progress bar for bytes, on stderr if that is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (progress and console.is_terminal))

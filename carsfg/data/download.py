"""Download Stanford Cars from wherever the user has it, and lay it out."""

import contextlib
import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from carsfg.data.unpack import lay_out, unpack
from carsfg.errors import InputError
from carsfg.progress import stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress

CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
SOURCES = """\
Stanford's own host no longer serves Stanford Cars, so there is no address to download it from by default.
It is found at
  images        kaggle.com/datasets/jessicali9530/stanford-cars-dataset (cars_train, cars_test)
  annotations   car_devkit.tgz (cars_meta.mat, cars_train_annos.mat), linked in pytorch/vision#7545 on GitHub
  test labels   cars_test_annos_withlabels.mat, linked at the same place

Give addresses or downloaded files (zip, tar, tgz or mat) and they are laid out and checked:
  carsfg data fetch {root} --url archive.zip --url car_devkit.tgz --url cars_test_annos_withlabels.mat

The layout, if you would rather make it by hand:
  {root}/stanford_cars/cars_train/*.jpg                      8,144 images
  {root}/stanford_cars/cars_test/*.jpg                       8,041 images
  {root}/stanford_cars/cars_test_annos_withlabels.mat
  {root}/stanford_cars/devkit/cars_meta.mat
  {root}/stanford_cars/devkit/cars_train_annos.mat

Without the data, `--config demo.yaml` runs any experiment on drawn cars."""


def fetch(
    root: str | Path, sources: Sequence[str], sha256: Sequence[str] = (), progress: bool = True
) -> dict[str, int]:
    """Download archives or annotation files and lay them out under `root/stanford_cars`.

    Args:
        root: made when missing.
        sources: http(s) addresses or local files: zip, tar (compressed or not), or mat.
        sha256: the hexadecimal digests of the sources, in their order, or none at all.
        progress: show a bar on the terminal.

    Returns:
        How many files went into each folder of `root/stanford_cars`.

    Raises:
        InputError: an address cannot be reached, a download breaks off or is not what was promised, an
            archive is damaged, unsafe or holds nothing of the data set, or `root` cannot be written.
    """
    if sha256 and len(sha256) != len(sources):
        raise InputError(f"{len(sha256)} --sha256 for {len(sources)} --url: give one for each, or none.")
    digests: Sequence[str | None] = sha256 or [None] * len(sources)
    laid: dict[str, int] = {}
    try:
        folder = Path(root) / "stanford_cars"
        folder.mkdir(parents=True, exist_ok=True)
        for source, digest in zip(sources, digests, strict=True):
            for part, count in _fetch_one(source, digest, folder, progress).items():
                laid[part] = laid.get(part, 0) + count
    except OSError as error:
        raise InputError(f"cannot write to {root}: {error.strerror or error}.") from error
    return laid


def _fetch_one(source: str, sha256: str | None, folder: Path, progress: bool) -> dict[str, int]:
    """Download, verify, unpack and lay out one source; downloads are removed once they are laid out."""
    remote = "://" in source
    file = download(source, folder / ".downloads", progress) if remote else Path(source).expanduser()
    if not file.is_file():
        raise InputError(f"{file} is no file: give an address that begins with https://, or a file.")
    if sha256 and (found := _sha256(file)) != sha256.lower():
        if remote:
            _drop(file)
        raise InputError(f"{source} is not what was promised: its SHA-256 is {found}, not {sha256.lower()}.")
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as unpacked:
        unpack(file, Path(unpacked))
        laid = lay_out(Path(unpacked), folder)
    if not laid:
        raise InputError(f"{source} holds no folder cars_train or cars_test and no annotation file.")
    if remote:
        _drop(file)
    return laid


def _drop(file: Path) -> None:
    """Remove a download, and the folder of downloads with the last one."""
    file.unlink()
    with contextlib.suppress(OSError):  # other downloads that broke off are still in it
        file.parent.rmdir()


def download(url: str, folder: Path, progress: bool = True) -> Path:
    """Download a file into `folder`, and go on where an earlier download of the same file broke off.

    Args:
        url: an http(s) address.
        folder: made when missing; the file goes there under the address's last part once it is complete, and
            is `.NAME.part` until then.
        progress: show a bar on the terminal.

    Raises:
        InputError: the address cannot be reached, or the connection breaks off.
        OSError: the folder cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url} is no http(s) address.")
    folder.mkdir(exist_ok=True)
    target = folder / (Path(unquote(urlsplit(url).path)).name or "download")
    part = target.with_name(f".{target.name}.part")
    tag = target.with_name(f".{target.name}.etag")  # says of which version of which file the part is one
    with _open(url, part, tag) as answer:
        done = part.stat().st_size if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = answer.headers["Content-Length"]
        total = done + int(length) if length else None
        tag.write_text(f"{url}\n{answer.headers['ETag'] or answer.headers['Last-Modified'] or ''}")
        with part.open("ab" if done else "wb") as file, _bar(progress) as bar:
            task = bar.add_task(target.name, total=total, completed=done)
            for chunk in _chunks(answer, url):
                file.write(chunk)
                bar.advance(task, len(chunk))
    size = part.stat().st_size
    if total is not None and size != total:
        raise InputError(f"{url} broke off after {size:,} of {total:,} bytes: run it again to go on from there.")
    part.replace(target)
    tag.unlink()
    return target


def _open(url: str, part: Path, tag: Path) -> http.client.HTTPResponse:
    """Ask for a file, or for the rest of it if `part` is its beginning and the server still has the same."""
    request = urllib.request.Request(url, headers={"User-Agent": "carsfg"})  # noqa: S310  (download() checked it)
    known = tag.read_text().split("\n") if part.is_file() and tag.is_file() else []
    if known and known[0] == url and known[-1]:
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", known[-1])
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.is_file():
            part.unlink()
            return _open(url, part, tag)
        raise InputError(f"{url} cannot be fetched: {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}.") from error
    return answer


def _chunks(answer: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """Read an answer piece by piece; apart from the writing, lest a full disk look like a dead net."""
    while True:
        try:
            chunk = answer.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(f"{url} broke off ({error}): run it again to go on from there.") from error
        if not chunk:
            return
        yield chunk


def _bar(progress: bool) -> "Progress":
    """A progress bar for bytes, on stderr if that is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not (progress and console.is_terminal))


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()

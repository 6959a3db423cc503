"""Get Stanford Cars from addresses or local archives into the layout that is read."""

import contextlib
import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from carsfg.data.sources.annotations import OFFICIAL, other_layout
from carsfg.data.unpack import lay_out, unpack
from carsfg.errors import InputError
from carsfg.files import checksum
from carsfg.progress import stderr_console

if TYPE_CHECKING:
    from rich.progress import Progress

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0  # without a byte received
SOURCES = """\
Stanford's server no longer offers Stanford Cars, so carsfg has no default address. Known sources:
  images        kaggle.com/datasets/jessicali9530/stanford-cars-dataset (cars_train, cars_test)
  annotations   car_devkit.tgz (cars_meta.mat, cars_train_annos.mat), linked in pytorch/vision#7545 on GitHub
  test labels   cars_test_annos_withlabels.mat, linked in the same issue

Give addresses or downloaded files (zip, tar, tgz or mat) to bring them into the layout that is read, and to check them:
  carsfg data fetch {quoted} --url archive.zip --url car_devkit.tgz --url cars_test_annos_withlabels.mat

The layout, to make it by hand:
  {root}/stanford_cars/cars_train/*.jpg                      8,144 images
  {root}/stanford_cars/cars_test/*.jpg                       8,041 images
  {root}/stanford_cars/cars_test_annos_withlabels.mat
  {root}/stanford_cars/devkit/cars_meta.mat
  {root}/stanford_cars/devkit/cars_train_annos.mat

Without the data, `--config demo.yaml` runs any experiment on drawn cars."""


def fetch(
    root: str | Path, sources: Sequence[str], sha256: Sequence[str] = (), progress: bool = True
) -> dict[str, int]:
    """Get archives or annotation files, and move their contents to `root/stanford_cars`.

    Args:
        root: data folder; created if needed.
        sources: http(s) addresses or local files: zip, tar (compressed or not), or mat.
        sha256: hexadecimal SHA-256 digest of each source, or none at all.
        progress: show a progress bar.

    Returns:
        Number of files moved to each folder of `root/stanford_cars`.

    Raises:
        InputError: an address cannot be reached, a download is interrupted, a checksum does not match, an archive is
            damaged, unsafe or holds no file of the data set, or `root` cannot be written.
    """
    if sha256 and len(sha256) != len(sources):
        raise InputError(f"{len(sha256)} --sha256 for {len(sources)} --url: give one for each, or none")
    digests: Sequence[str | None] = sha256 or [None] * len(sources)
    laid: dict[str, int] = {}
    try:
        folder = Path(root) / "stanford_cars"
        folder.mkdir(parents=True, exist_ok=True)
        for source, digest in zip(sources, digests, strict=True):
            for part, count in _fetch_one(source, digest, folder, progress).items():
                laid[part] = laid.get(part, 0) + count
    except OSError as error:
        raise InputError(f"cannot write to {root}: {error.strerror or error}") from error
    return laid


def _fetch_one(source: str, sha256: str | None, folder: Path, progress: bool) -> dict[str, int]:
    """Download, verify and unpack one source, and move its files; the downloaded archive is removed afterwards."""
    remote = "://" in source
    file = download(source, folder / ".downloads", progress) if remote else Path(source).expanduser()
    if not file.is_file():
        raise InputError(f"{file} is not a file: give a file, or an address that begins with https://")
    _check_readable(file)
    if sha256 and (found := checksum(file, "sha256")) != sha256.lower():
        if remote:
            _drop(file)
        raise InputError(f"checksum mismatch for {source}: expected SHA-256 {sha256.lower()}, got {found}")
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as unpacked:
        unpack(file, Path(unpacked))
        laid = lay_out(Path(unpacked), folder)
        other = None if laid else other_layout(path.name for path in sorted(Path(unpacked).rglob("*")))
    if not laid:
        found = f"Stanford Cars as {other}, which is not read" if other else "no images and no annotations of it"
        raise InputError(f"{source} holds {found}: {OFFICIAL}")
    if remote:
        _drop(file)
    return laid


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error


def _drop(file: Path) -> None:
    """Remove a downloaded file, and the folder of downloads once it is empty."""
    file.unlink()
    with contextlib.suppress(OSError):  # interrupted downloads are still in it
        file.parent.rmdir()


def download(url: str, folder: Path, progress: bool = True) -> Path:
    """Download a file into `folder`; an interrupted download of the same file is continued.

    Args:
        url: http or https address.
        folder: created if needed; the file gets the last part of the address as its name, and ends in `.part` until it
            is complete.
        progress: show a progress bar.

    Raises:
        InputError: the address cannot be reached, or the connection is interrupted.
        OSError: the folder cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url} is not an http or https address")
    folder.mkdir(exist_ok=True)
    target = folder / (Path(unquote(urlsplit(url).path)).name or "download")
    part = target.with_name(f".{target.name}.part")
    tag = target.with_name(f".{target.name}.etag")  # URL and ETag of the partial download
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
        raise InputError(f"{url} was interrupted after {size:,} of {total:,} bytes: run the command again to continue")
    part.replace(target)
    tag.unlink()
    return target


def _open(url: str, part: Path, tag: Path) -> http.client.HTTPResponse:
    """Request a file, or only the rest if `part` is its beginning and the file on the server is unchanged."""
    request = urllib.request.Request(url, headers={"User-Agent": "carsfg"})  # noqa: S310  (download() checked it)
    known = tag.read_text().split("\n") if part.is_file() and tag.is_file() else []
    if known and known[0] == url and known[-1]:
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", known[-1])
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.is_file():
            part.unlink()
            return _open(url, part, tag)
        raise InputError(f"{url} cannot be downloaded: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{url} cannot be reached: {getattr(error, 'reason', error)}") from error
    return answer


def _chunks(answer: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """Read a response in chunks; separate from writing, so that a full disk is not reported as a network error."""
    while True:
        try:
            chunk = answer.read(CHUNK_BYTES)
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

"""Get Stanford Cars from a source by name, and lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carsfg.data.fetch.catalogue import CLASSES_FOLDER, DEFAULT_REPOSITORIES, OFFICIAL_FOLDER, SourceName
from carsfg.data.fetch.download import TIMEOUT_SECONDS, download
from carsfg.data.fetch.layout import Laid, lay_out, plain_name
from carsfg.data.fetch.unpack import unpack
from carsfg.data.fetch.watch import check_library, download_from_hub
from carsfg.errors import InputError
from carsfg.files import checksum, remove

DOWNLOADS = ".downloads"  # below the data folder; removed when everything is laid out
INNER_ARCHIVES = ("car_devkit.tgz", "cars_train.tgz", "cars_test.tgz")  # Stanford's own, which mirrors pack again

OTHERS = "`carsfg data fetch` lists sources"


@dataclass(frozen=True)
class _Got:
    """A file or folder that a source gave.

    Attributes:
        path: file or folder.
        name: how the user named it.
        own: whether it was downloaded here, so that it may be changed and removed.
    """

    path: Path
    name: str
    own: bool


def fetch(
    root: str | Path,
    source: SourceName,
    names: Sequence[str] = (),
    sha256: Sequence[str] = (),
    timeout: float = TIMEOUT_SECONDS,
    progress: bool = True,
) -> list[Laid]:
    """Get files of Stanford Cars, and bring them to `root/stanford_cars` or `root/stanford_cars_by_class`.

    Args:
        root: data folder; created if needed.
        source: where the files come from.
        names: data sets `OWNER/NAME` of `kaggle` and `huggingface`, by default those of `DEFAULT_REPOSITORIES`; http(s)
            addresses of `url`; paths of `folder`.
        sha256: hexadecimal SHA-256 digest of each address or file, or none at all.
        timeout: seconds without a byte received, after which a download ends.
        progress: show progress bars.

    Returns:
        What was laid out, one for each name.

    Raises:
        InputError: a source cannot be reached, stalls, is damaged, unsafe, or holds no file of the data set, a
            checksum does not match, or `root` cannot be written.
    """
    names = _check(Path(root), source, names, sha256, timeout)
    downloads = Path(root) / DOWNLOADS
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        got = [_get(source, name, downloads, timeout, progress) for name in names]
        for one, digest in zip(got, sha256, strict=False):
            _verify(one, digest)
        laid = [_lay_out(one, Path(root), progress) for one in got]
    except OSError as error:
        raise InputError(f"cannot use {error.filename or root}: {error.strerror or error}") from error
    remove(downloads)
    return laid


def _check(
    root: Path, source: SourceName, names: Sequence[str], sha256: Sequence[str], timeout: float
) -> Sequence[str]:
    """Return the names to get, the default ones if none are given."""
    if timeout <= 0:
        raise InputError(f"timeout {timeout:g} must be more than 0 seconds")
    if source in DEFAULT_REPOSITORIES:
        check_library(source)
        if sha256:
            raise InputError(f"--sha256 is for --source url and folder: {source} checks its files itself")
        for name in names:
            if len([part for part in name.split("/") if part]) != 2 or "://" in name:
                raise InputError(f"{name!r} is not a data set of {source}: give OWNER/NAME")
        return names or DEFAULT_REPOSITORIES[source]
    if not names:
        raise InputError(f"--source {source} needs {'addresses' if source == 'url' else 'paths'} after it")
    if sha256 and len(sha256) != len(names):
        raise InputError(f"{len(sha256)} --sha256 for {len(names)} of --source {source}: give one for each, or none")
    if source == "folder":
        for name in names:
            _check_path(Path(name).expanduser(), root)
    return names


def _check_path(path: Path, root: Path) -> None:
    """Check that a path exists, can be read, and is not the place where the data goes."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            with path.open("rb"):
                pass
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    here = path.resolve()
    places = [root.resolve(), *(root.resolve() / name for name in (OFFICIAL_FOLDER, CLASSES_FOLDER))]
    if here in places or here in places[0].parents:
        raise InputError(f"{path} holds the folder that the data goes to: name what you downloaded, or another ROOT")


def _get(source: SourceName, name: str, downloads: Path, timeout: float, progress: bool) -> _Got:
    """Get one file or folder."""
    if source == "folder":
        return _Got(Path(name).expanduser(), name, own=False)
    if source == "url":
        return _Got(download(name, downloads / source, progress, timeout), name, own=True)
    folder = downloads / source / name.replace("/", "--")
    path = download_from_hub(source, name, folder, timeout, progress)
    return _Got(path, name, own=path.resolve().is_relative_to(folder.resolve()))


def _verify(got: _Got, sha256: str) -> None:
    """Compare the checksum of a file."""
    if got.path.is_dir():
        raise InputError(f"{got.name} is a folder: --sha256 is for files")
    if (found := checksum(got.path, "sha256")) != sha256.lower():
        if got.own:
            remove(got.path)
        raise InputError(f"checksum mismatch for {got.name}: expected SHA-256 {sha256.lower()}, got {found}")


def _lay_out(got: _Got, root: Path, progress: bool) -> Laid:
    """Unpack what is packed, and lay it out; a download that cannot be used is removed, so that it starts anew."""
    scratch = root / DOWNLOADS / "unpacked"
    try:
        return _lay_out_in(scratch, got, root, progress)
    except InputError:
        if got.own:
            remove(got.path)
        raise
    finally:
        remove(scratch)


def _lay_out_in(scratch: Path, got: _Got, root: Path, progress: bool) -> Laid:
    remove(scratch)
    scratch.mkdir()
    folders = [(got.path, not got.own)]
    if got.path.is_file():
        folders = [(_unpacked(got.path, scratch), False)]
    inner = sorted(path for path in folders[0][0].rglob("*.tgz") if plain_name(path) in INNER_ARCHIVES)
    folders += [(_unpacked(path, scratch), False) for path in inner]
    laid = [one for folder, keep in folders if (one := lay_out(folder, root, keep, progress))]
    if not laid:
        raise InputError(
            f"{got.name} holds no images and no annotations of Stanford Cars: `carsfg data fetch` lists sources"
        )
    counts = {part: sum(one.counts.get(part, 0) for one in laid) for one in laid for part in one.counts}
    return Laid(laid[0].folder, counts)


def _unpacked(file: Path, scratch: Path) -> Path:
    folder = scratch / f"{len(list(scratch.iterdir()))}"
    folder.mkdir()
    unpack(file, folder)
    return folder

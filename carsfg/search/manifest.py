"""The manifest of a gallery's folder, a small JSON file, and the arrays beside it; none of them is trusted."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from carsfg.errors import InputError
from carsfg.files import checksum, find_replaced
from carsfg.retrieval.faiss_index import METRICS
from carsfg.run_record import RunRecord
from carsfg.untrusted import load_array, parse_json

FORMAT = 4
MANIFEST = "gallery.json"
MAX_IMAGE_SIDE = 4096  # of the images that a network takes, in pixels


@dataclass(frozen=True)
class Manifest:
    """Facts of a gallery.

    Attributes:
        metric: `cosine` or `euclidean`.
        count: N, the number of images.
        width: D of the embeddings.
        class_names: in label order.
        record: run record of the embeddings, `RunRecord.to_dict()`.
        fingerprint: of the network, see `carsfg.tasks.fingerprint`; empty if unknown.
        factory: FAISS's description of the index.
        trained_on: number of images that index and origin were learned from.
        calibrated_on: images that gave the calibration, see `Gallery`.
        roots: folders that the paths begin at, relative to the gallery's folder, or absolute.
        files: size in bytes and checksum of each file beside the manifest.
        format: version of the layout of the folder.
    """

    metric: str
    count: int
    width: int
    class_names: list[str]
    record: dict[str, Any]
    fingerprint: str
    factory: str = "Flat"
    trained_on: int = 0
    calibrated_on: str = ""
    roots: list[str] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Measure all files of a folder, and write the manifest last.

        Args:
            folder: directory that holds `gallery.json`.
        """
        files = {
            path.name: {"bytes": path.stat().st_size, "checksum": checksum(path)} for path in sorted(folder.iterdir())
        }
        text = json.dumps({**asdict(self), "files": files}, indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a gallery.

        Args:
            folder: directory that holds `gallery.json`.

        Raises:
            InputError: there is no gallery, it cannot be read, it is damaged, or another version of carsfg wrote it.
        """
        try:
            facts = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            old = find_replaced(folder.absolute())
            if old is not None:
                raise InputError(
                    f"no gallery in {folder}: it was being replaced when the process was killed; bring it back with "
                    f"`mv {shlex.quote(str(old))} {shlex.quote(str(folder))}`"
                ) from None
            raise InputError(f"no gallery in {folder}: `carsfg index` and `carsfg predict` write them") from None
        except OSError as error:
            raise unreadable(folder, error) from error
        except ValueError as error:
            raise InputError(f"cannot read the gallery in {folder}: {MANIFEST} is damaged ({error})") from error
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            found = facts.get("format") if isinstance(facts, dict) else None
            raise InputError(
                f"the gallery in {folder} has format {found!r}, this version of carsfg reads {FORMAT}: make it again "
                f"with `{rebuild_command(folder, facts)}`"
            )
        if not _is_sound(facts):
            raise InputError(f"the gallery in {folder} is damaged: {MANIFEST} is inconsistent, index again")
        return cls(**{name: facts[name] for name in cls.__dataclass_fields__})

    def check_files(self, folder: Path, verify: bool) -> None:
        """Compare the files of a gallery with the manifest.

        Args:
            folder: directory that holds `gallery.json`.
            verify: compare checksums, for which all files are read; otherwise sizes.

        Raises:
            InputError: a file is missing or is not the one it was saved with.
            OSError: a file cannot be read.
        """
        for name, facts in self.files.items():
            path = folder / name
            if not path.is_file():
                raise InputError(f"the gallery in {folder} is damaged: {name} is missing, index again")
            if path.stat().st_size != facts["bytes"] or (verify and checksum(path) != facts["checksum"]):
                raise InputError(f"the gallery in {folder} is damaged: {name} has changed since it was saved")

    def read_array(self, folder: Path, name: str, kind: Any, count: int | None, mmap: bool) -> npt.NDArray[Any]:
        """Read an array of one dimension.

        Args:
            folder: directory that holds `gallery.json`.
            name: file name inside the directory.
            kind: its NumPy dtype.
            count: its length; None for any length.
            mmap: leave it on disk, where pages are copied if they are written to.

        Raises:
            InputError: the file is missing, or holds another kind of array.
            OSError, ValueError: it cannot be read.
        """
        if name not in self.files:
            raise InputError(f"the gallery in {folder} is damaged: {name} is missing, index again")
        # mapped in any case: that compares the length in the file's header with its size before memory is allocated
        array = load_array(folder / name, "c")
        if array.ndim != 1 or array.dtype != kind or count not in (None, len(array)):
            raise InputError(f"the gallery in {folder} is damaged: {name} does not fit {MANIFEST}, index again")
        return array if mmap else np.array(array)


def unreadable(folder: Path, error: OSError) -> InputError:
    """Return the error for a file of a gallery that the operating system does not give, such as without permission.

    Args:
        folder: directory of the gallery.
        error: of the operating system.
    """
    name = Path(str(error.filename)).name if error.filename and Path(str(error.filename)) != folder else "the folder"
    return InputError(f"cannot read the gallery in {folder}: {name}: {error.strerror or error}")


def rebuild_command(folder: Path, facts: Any) -> str:
    """Return the command that makes a gallery of an earlier format again, with what its manifest tells.

    Args:
        folder: directory of the gallery; the network in it holds the settings of the gallery.
        facts: content of its manifest, of any kind.
    """
    network = folder / "network.ckpt"
    words = ["carsfg", "index", str(network) if network.is_file() else "CHECKPOINT", "FOLDER", f"--output={folder}"]
    known = _block(facts)
    if known.get("metric") in tuple(METRICS):
        words.append(f"--metric={known['metric']}")
    if _block(_block(known.get("record")).get("data")).get("box") == "detector":
        words.append("--box=detector")
    return shlex.join([*words, "--overwrite"])


def write_arrays(folder: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays to `.npy` files.

    Args:
        folder: directory that holds `gallery.json`.
        arrays: by the names of their files.
    """
    for name, array in arrays.items():
        np.save(folder / name, array, allow_pickle=False)


def _block(facts: Any) -> dict[str, Any]:
    return facts if isinstance(facts, dict) else {}


def _is_sound(facts: dict[str, Any]) -> bool:
    """Whether all values of a manifest are of the right types and in range."""
    names, files, record = (facts.get(name) for name in ("class_names", "files", "record"))
    if not (isinstance(names, list) and isinstance(files, dict) and isinstance(record, dict)):
        return False
    numbers = all(type(facts.get(name)) is int and facts[name] > 0 for name in ("count", "width"))
    roots, named = facts.get("roots"), ("fingerprint", "metric", "factory", "calibrated_on")
    if not isinstance(roots, list) or type(facts.get("trained_on")) is not int:
        return False
    words = all(isinstance(word, str) for word in [*names, *roots, *(facts.get(name) for name in named)])
    sums = all(Path(name).name == name and _is_file(one) for name, one in files.items())
    return numbers and words and sums and facts["metric"] in METRICS and _sizes_are_sound(record)


def _is_file(facts: Any) -> bool:
    return isinstance(facts, dict) and type(facts.get("bytes")) is int and isinstance(facts.get("checksum"), str)


def _sizes_are_sound(record: dict[str, Any]) -> bool:
    """Whether the image sizes in a record are numbers of pixels that do not fill the memory."""
    try:
        made = RunRecord.from_dict(record)
    except InputError:
        return False
    sizes = [block["image_size"] for block in (made.task, made.data) if block.get("image_size") is not None]
    return all(type(size) is int and 0 < size <= MAX_IMAGE_SIDE for size in sizes)

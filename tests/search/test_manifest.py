"""Everything that may be wrong with a gallery's files."""

import errno
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import gallery, network, pictured

NAMES = [
    "gallery.json", "index.faiss", "labels.npy", "calibration.npy", "paths.npy", "paths_offsets.npy", "thumbnails.npy",
    "thumbnails_offsets.npy", "checksums.npy", "boxes.npy", "roots.npy", "network.ckpt",
]  # fmt: skip


def change_manifest(folder: Path, **facts: Any) -> None:
    path = folder / "gallery.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def change_array(folder: Path, name: str, array: Any) -> None:
    """Write another array, whose size the manifest knows."""
    np.save(folder / name, array, allow_pickle=True)
    files = json.loads((folder / "gallery.json").read_text())["files"]
    files[name] = {"bytes": (folder / name).stat().st_size, "checksum": ""}
    change_manifest(folder, files=files)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("change", ["cut", "longer", "empty", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_files_of_another_size(name: str, change: str, mmap: bool, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars", network())
    file = tmp_path / "cars" / name
    data = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        file.write_bytes({"cut": data[:-9], "longer": data + b"x", "empty": b""}[change])
    with pytest.raises(InputError, match=r"damaged|no gallery in"):
        Gallery.load(tmp_path / "cars", mmap)


@pytest.mark.parametrize("name", NAMES[1:])
def test_verifying_finds_a_changed_byte_in_every_file(name: str, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars", network())
    assert len(Gallery.load(tmp_path / "cars", verify=True)) == 5
    file = tmp_path / "cars" / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=rf"is damaged: {name} has changed since it was saved"):
        Gallery.load(tmp_path / "cars", verify=True)


def test_without_verifying_the_index_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery larger than memory is open at once."""
    gallery().save(tmp_path / "cars")
    monkeypatch.setattr("carsfg.search.manifest.checksum", lambda _: pytest.fail("a file was read"))
    assert len(Gallery.load(tmp_path / "cars", mmap=True)) == 5


@pytest.mark.parametrize("name", ["gallery.json", "labels.npy", "index.faiss"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so that the refusal of the operating system is imitated."""
    folder = tmp_path / "cars"
    pictured().save(folder)
    opened = io.open

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, str | Path) and Path(file).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return opened(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError) as error:
        Gallery.load(folder)
    assert str(error.value) == f"cannot read the gallery in {folder}: {name}: Permission denied"


def test_no_gallery_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no gallery in .*`carsfg predict`"):
        Gallery.load(tmp_path)


INCONSISTENT = "gallery.json is inconsistent, index again"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "has format 2, this version of carsfg reads 4: make it again with `carsfg index "),
        ({"format": "3"}, "has format '3', this version"),
        ({"width": 3}, "index.faiss does not fit gallery.json"),
        ({"count": 4}, "labels.npy does not fit gallery.json"),
        ({"metric": "euclidean"}, "index.faiss does not fit gallery.json"),
        ({"metric": "hamming"}, INCONSISTENT),
        ({"metric": ["cosine"]}, INCONSISTENT),
        ({"count": 0}, INCONSISTENT),
        ({"count": "5"}, INCONSISTENT),
        ({"count": True}, INCONSISTENT),
        ({"class_names": {}}, INCONSISTENT),
        ({"class_names": [1, 2, 3]}, INCONSISTENT),
        ({"class_names": ["a", "b"]}, "labels beyond the 2 classes"),
        ({"record": None}, INCONSISTENT),
        ({"record": {"task": 3}}, INCONSISTENT),
        ({"record": {"callbacks": {"a": 3}}}, INCONSISTENT),
        ({"fingerprint": None}, INCONSISTENT),
        ({"factory": 3}, INCONSISTENT),
        ({"trained_on": "5"}, INCONSISTENT),
        ({"calibrated_on": None}, INCONSISTENT),
        ({"roots": "../photos"}, INCONSISTENT),
        ({"roots": [3]}, INCONSISTENT),
        ({"files": None}, INCONSISTENT),
        ({"files": {"labels.npy": 3}}, INCONSISTENT),
        ({"files": {"../labels.npy": {"bytes": 3, "checksum": ""}}}, INCONSISTENT),
        ({"files": {}}, "labels.npy is missing"),
    ],
)
def test_facts_that_do_not_fit(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    gallery().save(tmp_path / "cars")
    change_manifest(tmp_path / "cars", **change)
    with pytest.raises(InputError, match=words):
        Gallery.load(tmp_path / "cars")


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("labels.npy", [0, 1], "does not fit gallery.json"),
        ("labels.npy", [0, 1, 2, 0, 3], "labels beyond the 3 classes"),
        ("labels.npy", [0, 1, 2, 0, -1], "labels beyond the 3 classes"),
        ("labels.npy", [0, 1, 2, 0, 0.7], "does not fit gallery.json"),
        ("labels.npy", [[0], [1], [2], [0], [1]], "does not fit gallery.json"),
        ("labels.npy", np.array(["a", {}], object), "cannot read the gallery"),
        ("calibration.npy", [0.5, 0.25], "ascending scores"),
        ("calibration.npy", [0.5, np.nan], "ascending scores"),
        ("calibration.npy", [0.5, np.inf], "ascending scores"),
        ("calibration.npy", ["0.5"], "does not fit gallery.json"),
        ("paths_offsets.npy", [0] * 6, "offsets do not fit"),
        ("paths_offsets.npy", [0, 5, 10, 15, 20], "does not fit gallery.json"),
        ("thumbnails_offsets.npy", [0, 1, 2, 3, 4, 5], "offsets do not fit"),
        ("thumbnails_offsets.npy", [0, 2**62, 3, 4, 5, 6], "offsets do not fit"),
        ("thumbnails.npy", [0.5, 1.0], "does not fit gallery.json"),
        ("checksums.npy", np.zeros(5 * 15, np.uint8), "does not fit gallery.json"),
        ("boxes.npy", np.zeros(19, np.int32), "does not fit gallery.json"),
        ("boxes.npy", np.zeros(20, np.int64), "does not fit gallery.json"),
        ("roots.npy", np.array([0, 0, 0, 0, 1], np.int32), "roots.npy does not fit gallery.json"),
        ("roots.npy", np.array([0, 0, 0, 0, -2], np.int32), "roots.npy does not fit gallery.json"),
    ],
)
def test_arrays_that_do_not_fit(name: str, array: Any, words: str, mmap: bool, tmp_path: Path) -> None:
    pictured().save(tmp_path / "cars")
    change_array(tmp_path / "cars", name, array)
    with pytest.raises(InputError, match=words):
        Gallery.load(tmp_path / "cars", mmap)


def test_a_header_that_asks_for_all_memory(tmp_path: Path) -> None:
    """The length is compared with the file's before anything is allocated."""
    gallery().save(tmp_path / "cars")
    path = tmp_path / "cars/labels.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (2**50,)})
    files = json.loads((tmp_path / "cars/gallery.json").read_text())["files"]
    files["labels.npy"]["bytes"] = path.stat().st_size
    change_manifest(tmp_path / "cars", files=files, count=2**50)
    with pytest.raises(InputError, match="cannot read the gallery"):
        Gallery.load(tmp_path / "cars")


def test_paths_that_leave_the_folder(tmp_path: Path) -> None:
    gallery(paths=["a", "b", "c", "d", "../../e"]).save(tmp_path / "cars")
    loaded = Gallery.load(tmp_path / "cars")
    assert loaded.paths[0] == "a"
    with pytest.raises(InputError, match="leaves its folder"):
        loaded.paths[4]


def test_the_command_that_makes_an_old_gallery_again(tmp_path: Path) -> None:
    """The message contains the facts of the old manifest."""
    record = RunRecord(data={"box": "detector"})
    gallery(metric="euclidean", record=record).save(tmp_path / "my cars", network())
    change_manifest(tmp_path / "my cars", format=3)
    with pytest.raises(InputError, match="has format 3, this version of carsfg reads 4") as error:
        Gallery.load(tmp_path / "my cars")
    folder = f"'{tmp_path}/my cars"
    assert str(error.value).endswith(
        f"`carsfg index {folder}/network.ckpt' FOLDER '--output={tmp_path}/my cars' --metric=euclidean --box=detector "
        "--overwrite`"
    )
    for damaged in ("[]", '{"record": {"data": 3}, "metric": ["cosine"]}', "3"):
        (tmp_path / "my cars/gallery.json").write_text(damaged)
        with pytest.raises(InputError, match=r"has format None, .* FOLDER '--output=.*' --overwrite`"):
            Gallery.load(tmp_path / "my cars")


def test_a_gallery_that_was_being_replaced_is_found(tmp_path: Path) -> None:
    """Where two folders cannot change places, a kill between two renames leaves the old one under another name."""
    gallery().save(tmp_path / "cars")
    (tmp_path / "cars").rename(tmp_path / ".old-0123-cars")
    with pytest.raises(InputError, match=r"killed; bring it back with `mv .*/.old-0123-cars .*/cars`"):
        Gallery.load(tmp_path / "cars")


def test_the_record_comes_back_whole(tmp_path: Path) -> None:
    record = RunRecord("mine", {"lr": 0.1}, {"name": "my cars"}, {"a.B": {"k": 1}}, {"precision": "bf16-mixed"}, seed=3)
    gallery(record=record).save(tmp_path / "cars")
    assert Gallery.load(tmp_path / "cars").record == record

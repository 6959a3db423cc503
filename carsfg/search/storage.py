"""A gallery's folder: writing and reading it.

gallery.json            the manifest: metric, class names, run record, roots, sizes and checksums of the files below
index.faiss             the embeddings, less the origin
labels.npy              int64 (N,)
origin.npy              float32 (D,), where there is one
calibration.npy         float64 (M,), scores of known cars, ascending
paths.npy               uint8, all paths one after the other
paths_offsets.npy       int64 (N + 1,), where each path begins
thumbnails.npy          uint8, all JPEG files one after the other
thumbnails_offsets.npy  int64 (N + 1,)
attributes.json         the names of the A attributes, each with its different values; absent without attributes
attributes.npy          int32 (A * N,), for each attribute in turn the place of each image's value in that list
checksums.npy           uint8 (16 * N,), of the images' files, by which duplicates are found
boxes.npy               int32 (4 * N,), boxes of the images that were given, -1 for none
roots.npy               int32 (N,), for each image the place of its folder among the manifest's roots
network.ckpt            the network that embedded the images
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from carsfg.errors import InputError
from carsfg.files import DIGEST_BYTES, replacing, write_error
from carsfg.hardware import check_memory
from carsfg.retrieval.faiss_index import METRICS, faiss_message
from carsfg.retrieval.index_file import read_index, write_index
from carsfg.retrieval.similarity import Metric
from carsfg.run_record import RunRecord
from carsfg.search.attributes import Attributes
from carsfg.search.contents import Contents
from carsfg.search.gallery import Gallery
from carsfg.search.manifest import MANIFEST, Manifest, unreadable, write_arrays
from carsfg.search.packed import PackedBytes, Paths
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails
from carsfg.tasks.checkpoints import save_network
from carsfg.untrusted import parse_json

if TYPE_CHECKING:
    from carsfg.tasks.base import CarsTask

INDEX, NETWORK = "index.faiss", "network.ckpt"
PACKED = ("paths.npy", "paths_offsets.npy", "thumbnails.npy", "thumbnails_offsets.npy")
ATTRIBUTES = "attributes.json"
ARRAYS = ("labels.npy", "origin.npy", "calibration.npy", "attributes.npy", "checksums.npy", "boxes.npy", "roots.npy")
FILES = {INDEX, NETWORK, MANIFEST, ATTRIBUTES, *ARRAYS, *PACKED}
OLD_FILES = {"thumbnails.bin"}  # of format 2


def check_target(folder: str | Path) -> Path:
    """Return the folder that a gallery is to be written to, with links followed.

    Args:
        folder: to write; it may exist if it is empty or holds a gallery.

    Raises:
        InputError: it holds something else, which must not be lost.
    """
    folder = Path(folder).resolve()
    if not folder.exists():
        return folder
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    if names and not {INDEX, MANIFEST} <= names <= FILES | OLD_FILES:
        raise InputError(f"{folder} exists and holds other files than those of a gallery: name another folder")
    return folder


def write_gallery(gallery: Gallery, folder: str | Path, network: "CarsTask | Path | None" = None) -> None:
    """Write a gallery, see `Gallery.save`.

    Args:
        gallery: index, labels, paths and thumbnails that are saved.
        folder: to create or replace.
        network: that embedded the images, to write as well; or the file that holds it, to copy.

    Raises:
        InputError: the folder holds something else, or it cannot be written.
    """
    folder = check_target(folder)
    try:
        with replacing(folder) as beside:
            beside.mkdir()
            write_index(gallery.index, beside / INDEX)
            if isinstance(network, Path):
                shutil.copyfile(network, beside / NETWORK)
            elif network is not None:
                save_network(network, beside / NETWORK, gallery.record)
            write_arrays(beside, _arrays(gallery))
            if gallery.attributes.values:
                (beside / ATTRIBUTES).write_text(json.dumps(gallery.attributes.values), encoding="utf-8")
            Manifest(
                gallery.metric,
                len(gallery),
                gallery.width,
                gallery.class_names,
                gallery.record.to_dict(),
                gallery.fingerprint,
                gallery.factory,
                gallery.trained_on or len(gallery),
                gallery.calibrated_on,
                gallery.roots.relative_to(folder),
            ).write(beside)
    except (OSError, RuntimeError) as error:
        said = faiss_message(error) if "faiss" in str(error) else write_error(error)
        raise InputError(f"cannot write a gallery to {folder}: {said}") from error


def read_gallery(folder: str | Path, mmap: bool, verify: bool) -> Gallery:
    """Read a gallery, see `Gallery.load`.

    Args:
        folder: that `write_gallery` wrote.
        mmap: leave index and arrays on disk.
        verify: compare the checksums of all files first.

    Raises:
        InputError: the folder holds no gallery, it is damaged, or another version of carsfg wrote it.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    try:
        manifest.check_files(folder, verify)
        parts = _read_arrays(manifest, folder, mmap)
        if not mmap:
            size = (folder / INDEX).stat().st_size
            check_memory(f"the index of {folder}:", size, "add --mmap, which leaves it on disk")
        with (folder / INDEX).open("rb"):  # FAISS's own error does not tell a missing permission from a damaged file
            index = read_index(folder / INDEX, mmap)
    except OSError as error:
        raise unreadable(folder, error) from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot read the gallery in {folder}: {faiss_message(error)}; index again") from error
    except MemoryError as error:
        raise InputError(f"cannot read the gallery in {folder}: it needs more memory than there is") from error
    if (index.ntotal, index.d, index.metric_type) != (manifest.count, manifest.width, METRICS[manifest.metric]):
        raise InputError(f"the gallery in {folder} is damaged: {INDEX} does not fit {MANIFEST}, index again")
    return Gallery(
        index=index,
        class_names=manifest.class_names,
        metric=cast(Metric, manifest.metric),
        record=RunRecord.from_dict(manifest.record, folder / MANIFEST),
        fingerprint=manifest.fingerprint,
        factory=manifest.factory,
        trained_on=manifest.trained_on,
        calibrated_on=manifest.calibrated_on,
        **parts,
    )


def _arrays(gallery: Gallery) -> dict[str, npt.NDArray[np.generic]]:
    """Return all that is written as arrays, by the names of the files."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "labels.npy": gallery.labels.numpy(),
        "calibration.npy": np.array(gallery.calibration, np.float64),
    }
    if gallery.origin is not None:
        arrays["origin.npy"] = gallery.origin.numpy()
    if len(gallery.paths):
        paths = gallery.paths if isinstance(gallery.paths, Paths) else Paths.pack(gallery.paths)
        arrays |= paths.packed.arrays("paths")
    if gallery.attributes.values:
        arrays["attributes.npy"] = gallery.attributes.codes.flatten().numpy()
    if gallery.contents is not None:
        arrays["checksums.npy"] = gallery.contents.checksums.flatten().numpy()
        arrays["boxes.npy"] = gallery.contents.boxes.flatten().numpy()
    if gallery.roots.folders:
        arrays["roots.npy"] = gallery.roots.codes.numpy()
    if gallery.thumbnails is not None:
        arrays |= gallery.thumbnails.packed.arrays("thumbnails")
    return arrays


def _read_arrays(manifest: Manifest, folder: Path, mmap: bool) -> dict[str, Any]:
    """Read what `_arrays` returned, as arguments of `Gallery`."""
    count, damaged = manifest.count, f"the gallery in {folder} is damaged"
    labels = manifest.read_array(folder, "labels.npy", np.int64, count, mmap)
    classes = len(manifest.class_names) or 2**31
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"{damaged}: labels.npy has labels beyond the {classes} classes, index again")
    scores = manifest.read_array(folder, "calibration.npy", np.float64, None, mmap=False)
    if not np.isfinite(scores).all() or (np.diff(scores) < 0).any():
        raise InputError(f"{damaged}: calibration.npy does not hold ascending scores, index again")
    parts: dict[str, Any] = {"labels": torch.from_numpy(labels), "calibration": scores.tolist(), "paths": []}
    if "origin.npy" in manifest.files:
        origin = manifest.read_array(folder, "origin.npy", np.float32, manifest.width, mmap=False)
        if not np.isfinite(origin).all():
            raise InputError(f"{damaged}: origin.npy is not finite, index again")
        parts["origin"] = torch.from_numpy(origin)
    for name, kind in (("paths", Paths), ("thumbnails", Thumbnails)):
        if f"{name}.npy" in manifest.files:
            offsets = manifest.read_array(folder, f"{name}_offsets.npy", np.int64, count + 1, mmap)
            data = manifest.read_array(folder, f"{name}.npy", np.uint8, None, mmap or name == "thumbnails")
            parts[name] = kind(PackedBytes(data, offsets))
    if "checksums.npy" in manifest.files:
        sums = manifest.read_array(folder, "checksums.npy", np.uint8, DIGEST_BYTES * count, mmap)
        boxes = manifest.read_array(folder, "boxes.npy", np.int32, 4 * count, mmap)
        parts["contents"] = Contents(torch.from_numpy(sums).view(count, -1), torch.from_numpy(boxes).view(count, 4))
    if manifest.roots:
        codes = manifest.read_array(folder, "roots.npy", np.int32, count, mmap)
        if codes.min() < -1 or codes.max() >= len(manifest.roots):
            raise InputError(f"{damaged}: roots.npy does not fit {MANIFEST}, index again")
        parts["roots"] = Roots.read(manifest.roots, torch.from_numpy(codes), folder.resolve())
    if ATTRIBUTES in manifest.files:
        parts["attributes"] = _read_attributes(manifest, folder, mmap)
    return parts


def _read_attributes(manifest: Manifest, folder: Path, mmap: bool) -> Attributes:
    """Read attributes.

    Raises:
        InputError: they are damaged.
    """
    values = parse_json((folder / ATTRIBUTES).read_text(encoding="utf-8"))
    if not isinstance(values, dict) or not all(_are_texts(texts) for texts in values.values()):
        raise InputError(f"the gallery in {folder} is damaged: {ATTRIBUTES} does not hold texts, index again")
    read = manifest.read_array(folder, "attributes.npy", np.int32, len(values) * manifest.count, mmap)
    codes = torch.from_numpy(read).view(len(values), manifest.count)
    for row, texts in zip(codes, values.values(), strict=True):
        if row.min() < 0 or row.max() >= len(texts):
            raise InputError(
                f"the gallery in {folder} is damaged: attributes.npy does not fit {ATTRIBUTES}, index again"
            )
    return Attributes(values, codes)


def _are_texts(texts: object) -> bool:
    return isinstance(texts, list) and all(isinstance(text, str) for text in texts)

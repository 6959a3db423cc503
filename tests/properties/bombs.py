"""Small files that would fill the memory of whoever reads them, each with what reads it."""

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from carsfg.data.crop_cache import CropCache
from carsfg.data.sources.annotations import read_class_names
from carsfg.data.sources.table import read_table
from carsfg.tasks.checkpoints import load

HUGE_BYTES = 2**29  # of zeros, which compress to 2 MB


def packed_annotations(folder: Path) -> None:
    """A compressed variable of a `.mat` file that unpacks to 512 MB."""
    packer, packed = zlib.compressobj(1), []
    for _ in range(HUGE_BYTES // 2**24):
        packed.append(packer.compress(bytes(2**24)))
    data = b"".join([*packed, packer.flush()])
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (folder / "devkit").mkdir(parents=True)
    tag = (15).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    (folder / "devkit" / "cars_meta.mat").write_bytes(head + tag + data)


def packed_checkpoint(folder: Path) -> None:
    """A checkpoint whose tensor is compressed, and has 512 MB."""
    torch.save({"state_dict": {"weight": torch.zeros(4)}}, folder / "small.ckpt")
    with (
        zipfile.ZipFile(folder / "small.ckpt") as small,
        zipfile.ZipFile(folder / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for part in small.infolist():
            with bomb.open(part.filename, "w", force_zip64=True) as file:
                if part.filename.endswith("data/0"):
                    for _ in range(HUGE_BYTES // 2**24):
                        file.write(bytes(2**24))
                else:
                    file.write(small.read(part))


def repeated_rows(folder: Path) -> None:
    """A Parquet table of 20 million equal rows in a few kilobytes."""
    row = pa.array(["car.png"]).dictionary_encode()
    few = pa.DictionaryArray.from_arrays(np.zeros(10**6, np.int32), row.dictionary)
    chunks = pa.chunked_array([few] * 20)
    parquet.write_table(pa.table({"path": chunks, "label": chunks}), folder / "rows.parquet", compression="gzip")


def repeated_cell(folder: Path) -> None:
    """A Parquet table with one cell of 1 MB, 2,000 times."""
    text = pa.array(["x" * 2**20])
    cells = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int32), text)
    parquet.write_table(pa.table({"path": cells, "label": cells}), folder / "cell.parquet", compression="gzip")


def claimed_array(folder: Path) -> None:
    """An array whose header claims 2^40 bytes, as in a crop cache."""
    for name, shape in (("images.npy", (1, 8, 8, 3)), ("cells.npy", (2**32, 16, 16))):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        (folder / name).write_bytes(file.getvalue() + bytes(192))
    (folder / "digests.txt").write_text("00\n")


BOMBS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "packed_annotations": (packed_annotations, read_class_names),
    "packed_checkpoint": (packed_checkpoint, lambda folder: load(folder / "bomb.ckpt")),
    "repeated_rows": (repeated_rows, lambda folder: read_table(folder / "rows.parquet")),
    "repeated_cell": (repeated_cell, lambda folder: read_table(folder / "cell.parquet")),
    "claimed_array": (claimed_array, CropCache),
}

"""Results of an interrupted `carsfg index`, from which the next identical command goes on.

Every 20 seconds what was embedded since is written to one file beside the gallery to come, so that a folder of a few
hundred images is embedded without. A file begins and ends at the border of a batch: the images that follow form the
same batches as without the interruption, and the gallery is the same to the last bit. Each file holds all facts that
decide the embeddings; files of other facts are discarded.

NUMBER.npz   embeddings float32 (M, D), places int64 (M,), boxes int64 (M, 4), -1 without a box, small pictures, and
             `meta`: facts, complaints, and the places in the folder where it starts and stops, as JSON
"""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from carsfg.files import UNFINISHED, remove, replacing
from carsfg.search.embedded import EmbeddedPhotos
from carsfg.search.packed import PackedBytes
from carsfg.untrusted import check_archive, parse_json

SHARD_SECONDS = 20.0  # of work that a kill loses at most; a folder that takes less leaves no files
NO_BOX = (-1, -1, -1, -1)
Facts = Mapping[str, str]


@dataclass(frozen=True)
class _Shard:
    """One file: results of the images `start <= place < stop`."""

    path: Path
    start: int
    stop: int
    facts: Facts
    part: EmbeddedPhotos


class Shards:
    """Keeps results in a folder while they are made, and gives back those of an interrupted call.

    As a context it says on Ctrl-C that the same command goes on. It does not delete the files: `remove_shards` does,
    once what they are for is written.

    Args:
        folder: to keep them in; created with the first file.
        facts: what decides the embeddings, as texts by name; see `carsfg.search.shard_facts`.
    """

    def __init__(self, folder: Path, facts: Facts) -> None:
        self.folder, self.facts = folder, dict(facts)
        self.written, self.start, self.stop = 0, 0, 0
        self.pending: list[EmbeddedPhotos] = []
        self.since, self.works = time.monotonic(), True

    def read(self, count: int) -> tuple[list[EmbeddedPhotos], int]:
        """Return what an interrupted call with the same facts has kept, and where to go on; discard all else.

        Args:
            count: number of images in the folder, for the message.
        """
        files = _files(self.folder)
        found = [shard for path in files if (shard := _read(path)) is not None]
        usable: list[_Shard] = []
        for shard in sorted(found, key=lambda one: one.start):
            if shard.facts == self.facts and shard.start == self.stop:
                usable.append(shard)
                self.stop = shard.stop
        others = {name for shard in found for name in self._differing(shard.facts)}
        images = sum(len(shard.part.places) for shard in found)
        self.start, self.written = self.stop, len(usable)
        if usable:
            _say(f"going on from {self.stop:,} of {count:,} images, which an interrupted run has dealt with")
        elif others:
            _say(f"discarding {images:,} images of an interrupted run, which had other {', '.join(sorted(others))}")
        kept = {shard.path for shard in usable}
        for path in files:
            if path not in kept:
                remove(path)
        return [shard.part for shard in usable], self.stop

    def add(self, part: EmbeddedPhotos, stop: int) -> None:
        """Keep a batch; it is written with those before once that is due.

        Args:
            part: results of the batch.
            stop: place in the folder after the last image of the batch.
        """
        self.pending.append(part)
        self.stop = stop
        if time.monotonic() - self.since >= SHARD_SECONDS:
            self._write()

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Write what is pending if files exist already, so that what follows the embedding may be interrupted too."""
        if kind is None and self.written:
            self._write()
        if kind is KeyboardInterrupt and self.written:
            _say(f"stopped after {self.stop:,} images: the same command goes on from {self.start:,}")

    def _differing(self, facts: Facts) -> set[str]:
        return {name for name in self.facts.keys() | facts.keys() if self.facts.get(name) != facts.get(name)}

    def _write(self) -> None:
        """Write what is pending; if that fails, say so once and keep nothing more."""
        self.since = time.monotonic()
        if not self.works or not self.pending:
            return
        path = self.folder / f"{self.start:012}.npz"
        shard = _Shard(path, self.start, self.stop, self.facts, EmbeddedPhotos.join(self.pending))
        try:
            with replacing(path) as beside:
                np.savez(beside, **_arrays(shard))
        except OSError as error:
            self.works = False
            _say(f"cannot keep results in {self.folder} ({error.strerror}): an interrupted run will begin again")
            return
        self.start, self.pending, self.written = self.stop, [], self.written + 1


def shards_folder(output: str | Path, name: str) -> Path:
    """Return the folder that keeps results for a gallery, beside it.

    Args:
        output: folder of the gallery to come.
        name: of what is embedded, such as `images`.
    """
    output = Path(output).resolve()
    return output.with_name(f"{output.name}.unfinished") / name


def remove_shards(folder: Path) -> None:
    """Delete the files of shards in a folder, and the folder and the one around it if they hold nothing else.

    Args:
        folder: see `shards_folder`; it may not exist.
    """
    for path in _files(folder):
        remove(path)
    for empty in (folder, folder.parent):
        with suppress(OSError):
            empty.rmdir()


def _files(folder: Path) -> list[Path]:
    """Return finished files in the order of their names, and those that a killed process was writing."""
    return [*sorted(folder.glob("[0-9]*.npz")), *folder.glob(f"{UNFINISHED}*.npz")]


def _arrays(shard: _Shard) -> dict[str, Any]:
    jpegs = PackedBytes.pack(shard.part.jpegs)
    meta = {"start": shard.start, "stop": shard.stop, "facts": shard.facts, "complaints": shard.part.complaints}
    return {
        "embeddings": shard.part.embeddings.numpy(),
        "places": np.array(shard.part.places, np.int64),
        "boxes": np.array([box or NO_BOX for box in shard.part.boxes], np.int64).reshape(-1, 4),
        "jpegs": jpegs.data,
        "jpegs_offsets": jpegs.offsets,
        "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
    }


def _read(path: Path) -> _Shard | None:
    """Read a file; None if it is damaged, which the checksums of its format tell."""
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = parse_json(arrays["meta"].tobytes())
        packed = PackedBytes(arrays["jpegs"], arrays["jpegs_offsets"])
        part = EmbeddedPhotos(
            torch.from_numpy(arrays["embeddings"]),
            arrays["places"].tolist(),
            [packed[place] for place in range(len(packed))],
            meta["complaints"],
            [None if box[0] < 0 else tuple(box) for box in arrays["boxes"].tolist()],
        )
        return _Shard(path, meta["start"], meta["stop"], meta["facts"], part)
    except Exception:  # a damaged file raises anything, and its images are embedded again
        return None


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201

"""Many short byte strings in two arrays, which can be memory-mapped: paths and thumbnails of a gallery."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from carsfg.errors import InputError


class PackedBytes:
    """N byte strings that lie one after the other.

    Args:
        data: uint8 (B,), all of them.
        offsets: int64 (N + 1,), where each begins, and where the last one ends.

    Raises:
        ValueError: the offsets do not fit the data.
    """

    def __init__(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.data, self.offsets = data, offsets
        fits = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(data)
        if not fits or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("its offsets do not fit its data")

    @classmethod
    def pack(cls, items: Iterable[bytes]) -> "PackedBytes":
        """Join byte strings.

        Args:
            items: the byte strings, in order.
        """
        parts = list(items)
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        """Return one of them, by its place, 0..N-1."""
        return self.data[self.offsets[place] : self.offsets[place + 1]].tobytes()

    def take(self, rows: npt.NDArray[np.int64]) -> "PackedBytes":
        """Return some of the byte strings.

        Args:
            rows: int64 (M,), places of them, 0..N-1.
        """
        return PackedBytes.pack(self[row] for row in rows.tolist())

    def join(self, others: "PackedBytes") -> "PackedBytes":
        """Return all byte strings, followed by others.

        Args:
            others: byte strings to append.
        """
        offsets = np.concatenate([self.offsets, others.offsets[1:] + self.offsets[-1]])
        return PackedBytes(np.concatenate([self.data, others.data]), offsets)

    def arrays(self, name: str) -> dict[str, npt.NDArray[np.generic]]:
        """Return both arrays by the names of their files.

        Args:
            name: of the content, such as `paths`.
        """
        return {f"{name}.npy": self.data, f"{name}_offsets.npy": self.offsets}


def path_in(folder: str | Path, path: str | Path) -> str:
    """Return the name of an image in a gallery: its path below a folder, or its whole path if it lies elsewhere.

    Args:
        folder: that the name begins at.
        path: of the image, with or without `..` in it.
    """
    whole, above = (Path(os.path.abspath(one)) for one in (path, folder))  # noqa: PTH100 - links stay, `..` goes
    return (whole.relative_to(above) if whole.is_relative_to(above) else whole).as_posix()


class Paths(Sequence[str]):
    """Paths of a gallery's images, decoded one by one when they are asked for.

    Args:
        packed: the paths as `os.fsencode` encodes them.
    """

    def __init__(self, packed: PackedBytes) -> None:
        self.packed = packed

    @classmethod
    def pack(cls, paths: Iterable[str | Path]) -> "Paths":
        """Encode paths, those that are not UTF-8 included.

        Args:
            paths: in the gallery's order.
        """
        return cls(PackedBytes.pack(os.fsencode(path) for path in paths))

    @classmethod
    def of(cls, paths: Sequence[str], count: int = 0) -> "Paths":
        """Return paths packed; empty ones where there are none.

        Args:
            paths: packed already, or not; may be empty.
            count: number of images, for which there are no paths.
        """
        return paths if isinstance(paths, Paths) else cls.pack(paths or [""] * count)

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Decode a path, or some of them.

        Raises:
            InputError: a path leaves the folder it is relative to, as in a hostile gallery.
        """
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        path = os.fsdecode(self.packed[range(len(self))[place]])
        if ".." in path.replace("\\", "/").split("/"):
            raise InputError(f"the gallery is damaged: the path {path!r} of an image leaves its folder")
        return path

    def __eq__(self, other: object) -> bool:
        """Whether it holds the same paths as another sequence, in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

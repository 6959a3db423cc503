"""Reading and writing FAISS indexes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss


def write_index(index: Any, path: Path) -> None:
    """Write an index; raises what `faiss_message` can explain.

    Args:
        index: as `make_index` makes it.
        path: the file to write.
    """
    path.touch()
    with _readable_name(path, "r+b") as name:
        faiss.write_index(index, name)


def read_index(path: Path, mmap: bool) -> Any:
    """Read an index, or map it from its file; raises what `faiss_message` can explain.

    Args:
        path: the file that `write_index` wrote.
        mmap: leave the index on disk.
    """
    with _readable_name(path, "rb") as name, _claims_limited(path.stat().st_size):
        return faiss.read_index(name, faiss.IO_FLAG_MMAP_IFC if mmap else 0)


@contextmanager
def _claims_limited(size: int) -> Iterator[None]:
    """Refuse headers that claim more items or bytes than the file has; FAISS knows such limits since 1.14."""
    kinds = [kind for kind in ("vector_byte", "loop") if hasattr(faiss, f"set_deserialization_{kind}_limit")]
    before = [getattr(faiss, f"get_deserialization_{kind}_limit")() for kind in kinds]
    try:
        for kind in kinds:
            getattr(faiss, f"set_deserialization_{kind}_limit")(size)
        yield
    finally:
        for kind, limit in zip(kinds, before, strict=True):
            getattr(faiss, f"set_deserialization_{kind}_limit")(limit)


@contextmanager
def _readable_name(path: Path, mode: str) -> Iterator[str]:
    """Give a name of an existing file that FAISS can open: it knows no names that are not UTF-8."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # only on Linux and macOS, where an open file has a second name
        with path.open(mode) as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name

"""Reading and writing FAISS index files; a file that somebody else made is not trusted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss

MIN_LOOPS = 1 << 17  # inverted lists of a file may be empty, and take no bytes in it; IMI2x8 has 65,536 of them
_LIMITS = threading.RLock()  # the limits of FAISS belong to the process


def write_index(index: Any, path: Path) -> None:
    """Write an index; raises what `faiss_message` can explain.

    Args:
        index: as `make_index` makes it.
        path: the file to write.
    """
    with path.open("wb") as file:  # if the disk is full when FAISS's own files are closed, they raise nothing
        writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def read_index(path: Path, mmap: bool) -> Any:
    """Read an index, or map it from its file; raises what `faiss_message` can explain.

    No array of the index may be longer than the file, so that a crafted length is refused before memory is allocated.

    Args:
        path: the file that `write_index` wrote.
        mmap: leave the index on disk.

    Raises:
        RuntimeError: the file is damaged or hostile.
        MemoryError: it needs more memory than there is.
    """
    # vectors in a second file, whose name the index holds, could be any file of this machine: they are refused below
    flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY | (faiss.IO_FLAG_MMAP_IFC if mmap else 0)
    with _readable_name(path) as name, _limits(path.stat().st_size):
        index = faiss.read_index(name, flags)
    if index is None:
        raise RuntimeError("it holds no index")
    for part in _parts(index):
        _check_part(part, index.ntotal)
    return index


def copy_index(index: Any) -> Any:
    """Copy an index into memory; FAISS's own `clone_index` ends the process if a memory-mapped one is changed.

    Args:
        index: as `make_index` makes it.
    """
    written = faiss.serialize_index(index)
    with _limits(len(written)):
        return faiss.deserialize_index(written)


@contextmanager
def _limits(size: int) -> Iterator[None]:
    """Refuse arrays beyond the bytes of a file while it is read."""
    with _LIMITS:
        loops, length = faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_loop_limit(max(size, MIN_LOOPS))
        faiss.set_deserialization_vector_byte_limit(size + 1)  # FAISS takes shorter arrays only
        try:
            yield
        finally:
            faiss.set_deserialization_loop_limit(loops)
            faiss.set_deserialization_vector_byte_limit(length)


def _parts(index: Any) -> Iterator[Any]:
    """Yield an index and those that it is made of."""
    index = faiss.downcast_index(index)
    yield index
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        inner = getattr(index, name, None)
        if isinstance(inner, faiss.Index):
            yield from _parts(inner)


def _check_part(part: Any, count: int) -> None:
    """Refuse vectors in other files, and let a search look at no more items than there are: it would ask for memory.

    Raises:
        RuntimeError: the vectors are in another file.
    """
    if isinstance(part, faiss.IndexIVF):
        lists: Any = part.invlists
        if isinstance(faiss.downcast_InvertedLists(lists), faiss.OnDiskInvertedLists):
            raise RuntimeError("its vectors are in another file")
        part.nprobe = max(1, min(part.nprobe, part.nlist))
    if isinstance(part, faiss.IndexHNSW):
        part.hnsw.efSearch = max(1, min(part.hnsw.efSearch, count))


@contextmanager
def _readable_name(path: Path) -> Iterator[str]:
    """Give a name of an existing file that FAISS can open: it knows no names that are not UTF-8."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:  # only on Linux and macOS, where an open file has a second name
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name

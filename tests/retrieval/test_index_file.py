"""Index files: every kind comes back, and crafted files are refused before they fill the memory or end the process."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import pytest
import torch

from carsfg.errors import InputError
from carsfg.retrieval.faiss_index import make_index, search_index
from carsfg.retrieval.index_file import copy_index, read_index, write_index
from carsfg.search.gallery import Gallery
from tests.search.test_gallery import gallery

FACTORIES = [
    "Flat", "IVF2,Flat", "HNSW4", "HNSW4,SQ8", "SQ4", "SQ8", "PQ4x4", "PQ4x4fs", "IVF2,SQ8", "IVF2,PQ4x4",
    "IVF2,RaBitQ", "IVF2,PQ4x4fs", "IVF2,PQ4x4fs,RFlat", "IVF4_HNSW4,Flat", "IMI2x2,Flat", "PCA8,L2norm,Flat",
    "RR16,IVF2,Flat",
]  # fmt: skip
CHILD_BYTES = 512 << 20  # that a process may ask for, beyond what it has after its imports
TRY_ALL = """
import os, resource, sys
from pathlib import Path
from carsfg.errors import InputError
from carsfg.retrieval.index_file import read_index
from carsfg.retrieval.faiss_index import reconstruct, search_index
import torch
torch.set_num_threads(1)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGESIZE") + int(sys.argv[1]),) * 2)
read = 0
for path in sorted(Path(sys.argv[2]).iterdir()):
    for mmap in (False, True):
        print(path.name, mmap, file=sys.stderr, flush=True)
        try:
            index = read_index(path, mmap)
        except RuntimeError:
            continue
        read += 1
        if (index.ntotal, index.d) == (64, 16):
            try:
                search_index(index, torch.eye(2, 16), 3)
            except InputError:
                continue
print(read)
"""


def points() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))


def crafted(folder: Path, contents: list[bytes]) -> int:
    """Read and search files in a process of its own, with limited memory; return how many reads were not refused."""
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number:04}.faiss").write_bytes(content)
    arguments = [sys.executable, "-c", TRY_ALL, str(CHILD_BYTES), str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-600:]}"
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("factory", FACTORIES)
def test_every_kind_comes_back(factory: str, mmap: bool, tmp_path: Path) -> None:
    """No index of ours is beyond the limits, also not one that keeps most of its lists empty."""
    index = make_index(points(), factory, "euclidean")
    write_index(index, tmp_path / "index.faiss")
    for read in (read_index(tmp_path / "index.faiss", mmap), copy_index(index)):
        assert torch.equal(search_index(read, points(), 3)[1], search_index(index, points(), 3)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits nothing elsewhere")
def test_lengths_that_ask_for_all_memory(tmp_path: Path) -> None:
    """Each field of the headers in turn is a number of terabytes, and one that is a little too large."""
    contents = []
    for factory in ("Flat", "IVF2,Flat", "HNSW4", "SQ8", "IVF2,PQ4x4fs", "IVF2,PQ4x4fs,RFlat"):
        written = faiss.serialize_index(make_index(points(), factory, "cosine")).tobytes()
        for place in [*range(4, 100, 4), *range(33, 65, 8)]:
            for value in (struct.pack("<Q", 1 << 40), struct.pack("<i", 1 << 30), struct.pack("<i", -1)):
                contents.append(written[:place] + value + written[place + len(value) :])
    assert crafted(tmp_path / "files", contents) < 2 * len(contents)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits nothing elsewhere")
def test_an_index_in_an_index_in_an_index(tmp_path: Path) -> None:
    """FAISS before 1.15 used up the stack."""
    inner = faiss.IndexFlatIP(16)
    written, flat = (faiss.serialize_index(one).tobytes() for one in (faiss.IndexPreTransform(inner), inner))
    assert written.endswith(flat)
    assert crafted(tmp_path / "files", [written[: -len(flat)] * 200_000 + flat]) == 0


def test_a_length_is_compared_with_the_file(tmp_path: Path) -> None:
    """An array of 100 MB would fit into the memory, but not into a file of 4 kB."""
    written = faiss.serialize_index(make_index(points(), "Flat", "cosine")).tobytes()
    place = written.index(struct.pack("<Q", 64 * 16))
    path = tmp_path / "index.faiss"
    path.write_bytes(written[:place] + struct.pack("<Q", 25_000_000) + written[place + 8 :])
    with pytest.raises(RuntimeError, match=r"vector_byte_limit|byte limit"):
        read_index(path, mmap=False)


def test_the_limits_of_the_process_come_back(tmp_path: Path) -> None:
    before = faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()
    (tmp_path / "index.faiss").write_bytes(b"IxFI")
    with pytest.raises(RuntimeError):
        read_index(tmp_path / "index.faiss", mmap=False)
    assert (faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()) == before


def test_an_index_may_not_name_another_file(tmp_path: Path) -> None:
    """Wherever that file is: FAISS would open it, and take its bytes for vectors."""
    index, secret = make_index(points(), "IVF2,Flat", "cosine"), tmp_path / "elsewhere" / "secret.bin"
    secret.parent.mkdir()
    lists = faiss.OnDiskInvertedLists(2, index.code_size, str(secret))
    lists.merge_from_1(index.invlists)
    index.replace_invlists(lists)
    write_index(index, tmp_path / "index.faiss")
    with pytest.raises(RuntimeError, match="could not open"):
        read_index(tmp_path / "index.faiss", mmap=False)
    (tmp_path / secret.name).write_bytes(secret.read_bytes())
    with pytest.raises(RuntimeError, match="its vectors are in another file"):
        read_index(tmp_path / "index.faiss", mmap=False)


@pytest.mark.parametrize(("factory", "name"), [("IVF2,Flat", "nprobe"), ("HNSW4", "efSearch")])
def test_a_search_looks_at_no_more_than_there_is(factory: str, name: str, tmp_path: Path) -> None:
    index = make_index(points(), factory, "cosine")
    faiss.ParameterSpace().set_index_parameter(index, name, 1 << 30)
    write_index(index, tmp_path / "index.faiss")
    read: Any = read_index(tmp_path / "index.faiss", mmap=False)
    assert (read.nprobe if name == "nprobe" else read.hnsw.efSearch) == (2 if name == "nprobe" else 64)


@pytest.mark.parametrize("factor", [0.0, 1e9, float("nan")])
def test_refining_no_more_than_there_is(factor: float, tmp_path: Path) -> None:
    index = make_index(points(), "PQ4x4fs,RFlat", "cosine")
    index.k_factor = factor
    write_index(index, tmp_path / "index.faiss")
    with pytest.raises(RuntimeError, match="k_factor"):
        read_index(tmp_path / "index.faiss", mmap=False)


@pytest.mark.parametrize("content", [b"", b"null", b"IxFI", b"XXXX" + bytes(60)])
def test_a_hostile_index_with_its_own_checksum(content: bytes, tmp_path: Path) -> None:
    """The gallery's manifest belongs to whoever made the gallery: it proves nothing."""
    gallery().save(tmp_path / "cars")
    (tmp_path / "cars/index.faiss").write_bytes(content)
    manifest = tmp_path / "cars/gallery.json"
    facts = json.loads(manifest.read_text())
    facts["files"]["index.faiss"]["bytes"] = len(content)
    manifest.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="cannot read the gallery in"):
        Gallery.load(tmp_path / "cars")


def test_memory_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery().save(tmp_path / "cars")

    def refuse(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("carsfg.search.storage.read_index", refuse)
    with pytest.raises(InputError, match="it needs more memory than there is"):
        Gallery.load(tmp_path / "cars")

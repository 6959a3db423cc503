from pathlib import Path

import pytest

from carsfg.data.fetch.download import download
from carsfg.errors import InputError
from tests.data.fetch.conftest import Server


def starts(server: Server) -> list[int]:
    return [start for _, _, start in server.asked]


def test_a_download_continues_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    body = bytes(range(256)) * 100
    url = server.serve("x.zip", body)
    server.fail("x.zip", "cut")
    with pytest.raises(InputError, match=r"x\.zip was interrupted after 12,800 of 25,600 bytes: run the command again"):
        download(url, tmp_path)
    assert not list(tmp_path.glob("*/x.zip"))
    assert download(url, tmp_path).read_bytes() == body
    assert starts(server) == [0, 12800]


def test_a_download_that_stalls_half_way_ends_and_continues(server: Server, tmp_path: Path) -> None:
    body = bytes(range(256)) * 100
    url = server.serve("x.zip", body)
    server.fail("x.zip", "stall half")
    with pytest.raises(InputError, match=r"x\.zip sent nothing for 0\.3 s: run the command again to continue"):
        download(url, tmp_path, timeout=0.3)
    assert download(url, tmp_path).read_bytes() == body
    assert starts(server) == [0, 12800]


def test_a_server_that_does_not_answer(server: Server, tmp_path: Path) -> None:
    server.fail("x.zip", "stall")
    with pytest.raises(InputError, match=r"x\.zip sent nothing for 0\.3 s"):
        download(server.serve("x.zip", b"x"), tmp_path, timeout=0.3)


def test_a_download_starts_again_when_the_file_has_changed(server: Server, tmp_path: Path) -> None:
    server.fail("x.zip", "cut")
    with pytest.raises(InputError):
        download(server.serve("x.zip", b"old" * 100), tmp_path)
    assert download(server.serve("x.zip", b"new" * 100), tmp_path).read_bytes() == b"new" * 100


def test_a_complete_file_is_kept_while_the_server_has_the_same(server: Server, tmp_path: Path) -> None:
    first = download(server.serve("x.zip", b"old"), tmp_path)
    written = first.stat().st_mtime_ns
    assert download(server.serve("x.zip", b"old"), tmp_path).stat().st_mtime_ns == written
    assert download(server.serve("x.zip", b"new"), tmp_path).read_bytes() == b"new"


def test_files_of_one_name_from_two_addresses(server: Server, tmp_path: Path) -> None:
    files = [download(server.serve(f"{part}/x.mat", part.encode()), tmp_path) for part in ("a", "b")]
    assert [(file.name, file.read_bytes()) for file in files] == [("x.mat", b"a"), ("x.mat", b"b")]


def test_addresses_that_lead_nowhere(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.zip cannot be downloaded: 404 Not Found"):
        download(f"{server.address}/nothing.zip", tmp_path)
    server.fail("x.zip", "500")
    with pytest.raises(InputError, match=r"x\.zip cannot be downloaded: 500 Internal Server Error"):
        download(server.serve("x.zip", b"x"), tmp_path)
    with pytest.raises(InputError, match=r"cannot be reached: .*Connection refused"):
        download("http://127.0.0.1:9/x.zip", tmp_path)
    with pytest.raises(InputError, match="is not an http"):
        download("file:///x.zip", tmp_path)

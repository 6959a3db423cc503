import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from carsfg.data.download import download, fetch
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.conftest import Photo, write_cars

MATS = ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`, in ranges too, and lets the first `server.drops` answers break off half-way."""

    server: "Server"

    def do_GET(self) -> None:
        body, tag = self.server.files.get(self.path, (None, ""))
        if body is None:
            self.send_error(404)
            return
        start = 0
        if self.headers["Range"] and self.headers["If-Range"] == tag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.server.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.server.drops:
            self.server.drops -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body[start:])

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    files: dict[str, tuple[bytes, str]]
    asked: list[int]  # where each answer began
    drops = 0

    def serve(self, name: str, body: bytes, tag: str = '"1"') -> str:
        self.files[f"/{name}"] = (body, tag)
        return f"http://127.0.0.1:{self.server_port}/{name}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked = {}, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The `stanford_cars` folder of a data set to pack."""
    return write_cars(tmp_path / "source", [Photo(), Photo(2)], [Photo(3)]) / "stanford_cars"


def packed(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def contents(source: Path, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{path.relative_to(source)}": path.read_bytes() for path in source.rglob("*.*")}


def check_laid_out(root: Path) -> None:
    assert [len(StanfordCars(root, split)) for split in ("train", "test")] == [2, 1]
    assert StanfordCars(root, "train").load(1).size == (4, 4)
    hidden = [path.name for path in (root / "stanford_cars").iterdir() if path.name not in EXPECTED]
    assert hidden == []


EXPECTED = ("cars_train", "cars_test", "devkit", "cars_test_annos_withlabels.mat")


@pytest.mark.parametrize("prefix", ["", "stanford_cars/", "any/where/"])
@pytest.mark.parametrize("pack", [packed, tarred])
def test_one_archive(server: Server, source: Path, tmp_path: Path, pack: object, prefix: str) -> None:
    assert callable(pack)
    url = server.serve("cars.bin?x=1", pack(contents(source, prefix) | {"README.txt": b"hello"}))
    laid = fetch(tmp_path / "data", [url])
    assert laid == {"cars_train": 2, "cars_test": 1, "devkit": 2, ".": 1}
    check_laid_out(tmp_path / "data")


def test_the_kaggle_mirror_and_the_annotations_apart(server: Server, source: Path, tmp_path: Path) -> None:
    files = contents(source)
    images = {
        f"{Path(name).parent}/{Path(name).parent}/{Path(name).name}": data
        for name, data in files.items()
        if name.endswith(".jpg")
    }
    urls = [
        server.serve("archive.zip", packed(images)),
        server.serve("car_devkit.tgz", tarred({name: files[name] for name in MATS[:2]})),
        server.serve("cars_test_annos_withlabels.mat", files[MATS[2]]),
    ]
    fetch(tmp_path / "data", urls)
    check_laid_out(tmp_path / "data")


def test_local_files_stay_where_they_are(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cars.zip"
    archive.write_bytes(packed(contents(source)))
    fetch(tmp_path / "data", [str(archive)], [hashlib.sha256(archive.read_bytes()).hexdigest().upper()])
    check_laid_out(tmp_path / "data")
    assert archive.is_file()


def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    body = bytes(range(256)) * 100
    url = server.serve("x.zip", body)
    server.drops = 1
    with pytest.raises(InputError, match=r"x\.zip was interrupted after 12,800 of 25,600 bytes: run the command again"):
        download(url, tmp_path)
    assert not (tmp_path / "x.zip").exists()
    assert download(url, tmp_path).read_bytes() == body
    assert server.asked == [0, 12800]
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_download_starts_again_when_the_file_has_changed(server: Server, tmp_path: Path) -> None:
    server.drops = 1
    with pytest.raises(InputError):
        download(server.serve("x.zip", b"old" * 100, '"1"'), tmp_path)
    assert download(server.serve("x.zip", b"new" * 100, '"2"'), tmp_path).read_bytes() == b"new" * 100
    assert server.asked == [0, 0]


def test_a_wrong_digest_is_refused_and_removed(server: Server, source: Path, tmp_path: Path) -> None:
    url = server.serve("cars.zip", packed(contents(source)))
    with pytest.raises(InputError, match="checksum mismatch for"):
        fetch(tmp_path / "data", [url], ["0" * 64])
    assert list((tmp_path / "data/stanford_cars").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("page.zip", b"<html>please log in</html>", "is not a zip, tar or mat file"),
        ("cut.zip", packed({"cars_train/1.jpg": b"x" * 99})[:-9], "is not a zip, tar or mat file"),
        ("cut.tgz", tarred({"cars_train/1.jpg": bytes(range(256)) * 99})[:-300], "is damaged"),
        ("other.zip", packed({"readme.txt": b"x"}), "holds no images and no annotations"),
        ("up.zip", packed({"../cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("root.zip", packed({"/cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("windows.zip", packed({"a/..\\..\\cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("up.tgz", tarred({"../../cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
    ],
)
def test_bad_archives(server: Server, tmp_path: Path, name: str, body: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch(tmp_path / "data", [server.serve(name, body)])
    assert not list(tmp_path.rglob("*.jpg"))


def test_addresses_that_lead_nowhere(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.zip cannot be downloaded: 404 Not Found"):
        fetch(tmp_path, [f"http://127.0.0.1:{server.server_port}/nothing.zip"])
    with pytest.raises(InputError, match=r"cannot be reached: .*Connection refused"):
        fetch(tmp_path, ["http://127.0.0.1:9/x.zip"])
    with pytest.raises(InputError, match="is not an http"):
        fetch(tmp_path, ["file:///x.zip"])
    with pytest.raises(InputError, match="is not a file"):
        fetch(tmp_path, [str(tmp_path / "nothing.zip")])


def test_digests_must_match_addresses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 --sha256 for 2 --url"):
        fetch(tmp_path, ["a", "b"], ["0"])


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write to .*file: Not a directory"):
        fetch(tmp_path / "file", ["http://127.0.0.1:9/x.zip"])


def test_copies_in_other_layouts_are_named(tmp_path: Path) -> None:
    archive = tmp_path / "kaggle.zip"
    archive.write_bytes(packed({"car_data/car_data/train/Audi/1.jpg": b"x", "anno_train.csv": b"1", "names.csv": b"2"}))
    with pytest.raises(InputError, match=r"kaggle\.zip holds Stanford Cars as Kaggle's folders per class .* official"):
        fetch(tmp_path / "data", [str(archive)])


def test_a_source_that_must_not_be_read_is_not_blamed_on_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "cars.zip"
    archive.write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*cars\.zip: Permission denied"):
        fetch(tmp_path / "data", [str(archive)])

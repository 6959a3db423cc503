"""All sources, from the download to the layout."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from carsfg.data.fetch.fetch import fetch
from carsfg.data.sources.any_source import read_photos
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.fetch.conftest import SHA, Server, contents, tarred, zipped
from tests.data.fetch.test_parquet import CLASSES, ROWS, write_table
from tests.data.sources.test_kaggle_cars import mirror

MATS = ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")
EXPECTED = {"cars_train", "cars_test", "devkit", "cars_test_annos_withlabels.mat"}
Pack = Callable[[dict[str, bytes]], bytes]


def check_laid_out(root: Path) -> None:
    """The official layout is complete, and nothing else is left."""
    assert [len(StanfordCars(root, split)) for split in ("train", "test")] == [2, 1]
    assert StanfordCars(root, "train").load(1).size == (4, 4)
    assert {path.name for path in (root / "stanford_cars").iterdir()} == EXPECTED
    assert [path.name for path in root.iterdir()] == ["stanford_cars"]


def doubled_images(files: dict[str, bytes]) -> dict[str, bytes]:
    """The images as Kaggle's mirror packs them: `cars_train/cars_train/00001.jpg`."""
    images = {Path(name): data for name, data in files.items() if name.endswith(".jpg")}
    return {f"{name.parent}/{name.parent}/{name.name}": data for name, data in images.items()}


def annotations(files: dict[str, bytes]) -> dict[str, bytes]:
    """The annotations as Kaggle's mirror packs them."""
    return {
        "car_devkit.tgz": tarred({name: files[name] for name in MATS[:2]}),
        "cars_test_annos_withlabels (1).mat": files[MATS[2]],
        "cars_annos (2).mat": b"x",
    }


@pytest.mark.parametrize("prefix", ["", "stanford_cars/", "any/where/"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_one_archive(server: Server, source: Path, tmp_path: Path, pack: Pack, prefix: str) -> None:
    url = server.serve("cars.bin?x=1", pack(contents(source, prefix) | {"README.txt": b"hello"}))
    server.files["/cars.bin"] = server.files.pop("/cars.bin?x=1")
    (laid,) = fetch(tmp_path / "data", "url", [url])
    assert laid.folder == tmp_path / "data/stanford_cars"
    assert laid.counts == {"cars_train": 2, "cars_test": 1, "devkit": 2, ".": 1}
    check_laid_out(tmp_path / "data")


def test_images_and_annotations_apart(server: Server, source: Path, tmp_path: Path) -> None:
    files = contents(source)
    urls = [
        server.serve("archive.zip", zipped(doubled_images(files))),
        server.serve("car_devkit.tgz", tarred({name: files[name] for name in MATS[:2]})),
        server.serve("cars_test_annos_withlabels.mat", files[MATS[2]]),
    ]
    server.fail("withlabels", "500")
    with pytest.raises(InputError, match=r"withlabels\.mat cannot be downloaded: 500"):
        fetch(tmp_path / "data", "url", urls)
    server.asked.clear()
    fetch(tmp_path / "data", "url", urls)
    check_laid_out(tmp_path / "data")


def test_the_default_data_sets_of_kaggle_are_complete(kaggle: Server, source: Path, tmp_path: Path) -> None:
    files = contents(source)
    kaggle.serve("kaggle/jessicali9530/stanford-cars-dataset", zipped(doubled_images(files)))
    kaggle.serve("kaggle/abdelrahmant11/standford-cars-dataset-meta", zipped(annotations(files)))
    images, labels = fetch(tmp_path / "data", "kaggle", timeout=20)
    assert images.counts == {"cars_train": 2, "cars_test": 1}
    assert labels.counts == {"devkit": 2, ".": 1}
    check_laid_out(tmp_path / "data")


def test_class_folders_of_kaggle_with_boxes(kaggle: Server, tmp_path: Path) -> None:
    kaggle.serve("kaggle/owner/cars", zipped(contents(mirror(tmp_path / "mirror"))))
    (laid,) = fetch(tmp_path / "data", "kaggle", ["owner/cars"], timeout=20)
    assert (laid.folder, laid.counts) == (tmp_path / "data/stanford_cars_by_class", {".": 3})
    found = read_photos(laid.folder)
    assert found.boxes is not None
    assert found.boxes.tolist() == [[38, 115, 569, 375], [0, 0, 4, 4], [2, 1, 6, 5]]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["stanford_cars_by_class"]


def test_parquet_files_of_hugging_face(hugging_face: Server, tmp_path: Path) -> None:
    for part, rows in (("train", ROWS), ("test", ROWS[:2])):
        body = write_table(tmp_path / f"in/{part}.parquet", rows).read_bytes()
        hugging_face.serve(f"datasets/tanganke/stanford_cars/resolve/{SHA}/data/{part}-00000-of-00001.parquet", body)
    (laid,) = fetch(tmp_path / "data", "huggingface", timeout=20)
    found = read_photos(laid.folder)
    assert found.class_names == sorted(name.replace("/", "-") for name in CLASSES)
    assert found.parts == ["train", "train", "train", "test", "test"]
    assert found.labels.tolist() == [0, 1, 0, 0, 1]


def test_a_damaged_table_is_downloaded_anew(hugging_face: Server, tmp_path: Path) -> None:
    body = write_table(tmp_path / "in/train.parquet").read_bytes()
    hugging_face.serve(f"datasets/owner/cars/resolve/{SHA}/train.parquet", body)
    hugging_face.fail("train.parquet", "bytes")
    with pytest.raises(InputError, match="is damaged"):
        fetch(tmp_path / "data", "huggingface", ["owner/cars"], timeout=20)
    assert fetch(tmp_path / "data", "huggingface", ["owner/cars"], timeout=20)[0].counts == {".": 3}


def test_class_folders_are_replaced_as_a_whole(tmp_path: Path) -> None:
    first, second = (tmp_path / name / f"cars/{part}/A {name}/1.jpg" for name in ("one", "two") for part in ("train",))
    for image in (first, second):
        for part in ("train", "test"):
            path = Path(str(image).replace("/train/", f"/{part}/"))
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
    for name in ("one", "two"):
        fetch(tmp_path / "data", "folder", [str(tmp_path / name)])
    assert sorted(path.name for path in (tmp_path / "data/stanford_cars_by_class/train").iterdir()) == ["A two"]


def test_local_archives_and_folders_stay_as_they_are(source: Path, tmp_path: Path) -> None:
    files = contents(source)
    archive = tmp_path / "cars.zip"
    archive.write_bytes(zipped(files))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest().upper()
    fetch(tmp_path / "data", "folder", [str(archive)], [digest])
    check_laid_out(tmp_path / "data")
    fetch(tmp_path / "other", "folder", [str(source)])
    check_laid_out(tmp_path / "other")
    assert contents(source) == files
    (tmp_path / "other/stanford_cars/cars_train/00001.jpg").write_bytes(b"changed")  # a copy, not a second name
    assert (source / "cars_train/00001.jpg").read_bytes() == files["cars_train/00001.jpg"]


def test_a_folder_of_stanfords_own_archives(source: Path, tmp_path: Path) -> None:
    files, down = contents(source), tmp_path / "down"
    down.mkdir()
    for part in ("cars_train", "cars_test"):
        (down / f"{part}.tgz").write_bytes(tarred({name: files[name] for name in files if name.startswith(f"{part}/")}))
    for name, data in annotations(files).items():
        (down / name).write_bytes(data)
    (laid,) = fetch(tmp_path / "data", "folder", [str(down)])
    assert laid.counts == {".": 1, "devkit": 2, "cars_test": 1, "cars_train": 2}
    check_laid_out(tmp_path / "data")


def test_downloaded_images_take_no_second_place(server: Server, source: Path, tmp_path: Path) -> None:
    url, root = server.serve("cars.zip", zipped(contents(source))), tmp_path / "data"
    for _ in range(2):
        fetch(root, "url", [url])  # the second time over the first
        check_laid_out(root)
    assert (root / "stanford_cars/cars_train/00001.jpg").stat().st_nlink == 1


def test_a_folder_without_cars(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/readme.txt").write_text("x")
    with pytest.raises(InputError, match="notes holds no images and no annotations of Stanford Cars"):
        fetch(tmp_path / "data", "folder", [str(tmp_path / "notes")])


@pytest.mark.parametrize("place", ["data", "data/stanford_cars", "data/stanford_cars_by_class", "."])
def test_the_place_where_data_goes_is_not_a_source(source: Path, tmp_path: Path, place: str) -> None:
    fetch(tmp_path / "data", "folder", [str(source)])
    (tmp_path / "data/stanford_cars_by_class").mkdir()
    with pytest.raises(InputError, match="holds the folder that the data goes to"):
        fetch(tmp_path / "data", "folder", [str(tmp_path / place)])
    assert len(StanfordCars(tmp_path / "data", "train")) == 2


def test_a_wrong_digest_is_refused_and_the_file_removed(server: Server, source: Path, tmp_path: Path) -> None:
    url = server.serve("cars.zip", zipped(contents(source)))
    with pytest.raises(InputError, match="checksum mismatch for"):
        fetch(tmp_path / "data", "url", [url], ["0" * 64])
    assert not list(tmp_path.glob("data/**/cars.zip"))
    assert not (tmp_path / "data/stanford_cars").exists()


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("page.zip", b"<html>please log in</html>", "is not a zip, tar or mat file"),
        ("cut.zip", zipped({"cars_train/1.jpg": b"x" * 99})[:-9], "is not a zip, tar or mat file"),
        ("cut.tgz", tarred({"cars_train/1.jpg": bytes(range(256)) * 99})[:-300], "is damaged"),
        ("crc.zip", zipped({"cars_train/1.jpg": b"x" * 99}).replace(b"x" * 99, b"y" * 99), "is damaged"),
        ("other.zip", zipped({"readme.txt": b"x"}), "holds no images and no annotations"),
        ("old.zip", zipped({"car_ims/1.jpg": b"x", "cars_annos.mat": b"x"}), "as the older single folder .* not read"),
        ("up.zip", zipped({"../cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("root.zip", zipped({"/cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("windows.zip", zipped({"a/..\\..\\cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
        ("up.tgz", tarred({"../../cars_train/1.jpg": b"x"}), "is unsafe and was not unpacked"),
    ],
)
def test_bad_archives_are_named_and_downloaded_anew(
    server: Server, source: Path, tmp_path: Path, name: str, body: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fetch(tmp_path / "data", "url", [server.serve(name, body)])
    assert not list(tmp_path.glob("data/**/*.jpg"))
    fetch(tmp_path / "data", "url", [server.serve(name, zipped(contents(source)))])
    check_laid_out(tmp_path / "data")


@pytest.mark.parametrize(
    ("source_name", "names", "sha256", "words"),
    [
        ("url", ["a", "b"], ["0"], "1 --sha256 for 2 of --source url"),
        ("url", [], [], "--source url needs addresses after it"),
        ("folder", [], [], "--source folder needs paths after it"),
        ("folder", ["nothing.zip"], [], r"cannot read nothing\.zip: No such file or directory"),
        ("kaggle", ["data"], [], "'data' is not a data set of kaggle: give OWNER/NAME"),
        ("huggingface", ["https://huggingface.co/datasets/a/b"], [], "is not a data set of huggingface"),
        ("kaggle", [], ["0"], "--sha256 is for --source url and folder"),
    ],
)
def test_words_that_do_not_fit(
    tmp_path: Path, source_name: str, names: list[str], sha256: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fetch(tmp_path / "data", source_name, names, sha256)  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot use .*file.*: Not a directory"):
        fetch(tmp_path / "file", "url", ["http://127.0.0.1:9/x.zip"])


def test_a_timeout_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="timeout 0 must be more than 0 seconds"):
        fetch(tmp_path, "url", ["http://127.0.0.1:9/x.zip"], timeout=0)

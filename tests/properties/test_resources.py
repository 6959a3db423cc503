"""What is beyond reason, or beyond this machine, is refused before anything starts, with the sensible number."""

from pathlib import Path

import pytest
import torch

from carsfg import hardware
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.cli import main
from carsfg.data.image_folder import find_photos
from carsfg.data.loaders import LoaderFactory
from carsfg.data.sources.table import read_table
from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search import build
from carsfg.search.build import embed_photos
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, MakeCars

MB = 2**20


@pytest.fixture
def cnn() -> CarCNN:
    torch.manual_seed(0)
    return CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval()


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one MB free."""
    for module in (hardware, build):
        monkeypatch.setattr(module, "free_memory", lambda _: MB)


@pytest.fixture
def folder(tmp_path: Path, cnn: CarCNN) -> Path:
    """A network, its gallery of two images, and the images."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for place in range(2):
        Image.new("RGB", (40, 40), (50 * place, 9, 9)).save(tmp_path / "photos" / f"{place}.png")
    save_network(cnn, tmp_path / "cnn.ckpt", RunRecord())
    found = embed_photos(cnn, find_photos(tmp_path / "photos"), 32, progress=False)
    Gallery.build(found.embeddings, torch.zeros(2, dtype=torch.int64), class_names=NAMES).save(
        tmp_path / "gallery", cnn
    )
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["index", "CKPT", "PHOTOS", "--output=g", "--batch_size=65537"], "--batch_size 65537 is too large: use 65536 or less"),  # noqa: E501
        (["predict", "CKPT", "PHOTOS", "--batch_size=10000000000"], "--batch_size 10000000000 is too large: use 65536 or less"),  # noqa: E501
        (["evaluate", "CKPT", "--batch_size=99999999"], "--batch_size 99999999 is too large: use 65536 or less"),
        (["embed", "CKPT", "PHOTOS", "--output=e.npy", "--batch_size=65537"], "--batch_size 65537 is too large: use 65536 or less"),  # noqa: E501
        (["evaluate", "CKPT", "--knn=1001"], "--knn 1001 is too large: use 1000 or less"),
        (["search", "GALLERY", "PHOTOS/0.png", "-k", "101"], "-k 101 is above the 2 images of the gallery: use 100 or less"),  # noqa: E501
        (["index", "CKPT", "PHOTOS", "--output=g", "--data.image_size=2049"], "--data.image_size 2049 must be 1 to 2048 pixels"),  # noqa: E501
        (["index", "CKPT", "PHOTOS", "--output=g", "--data.image_size=-1"], "--data.image_size -1 must be 1 to 2048 pixels"),  # noqa: E501
        (["index", "CKPT", "PHOTOS", "--output=g", "--factory=IVF100000000,Flat"],
         "--factory 'IVF100000000,Flat': IVF100000000 is too large for 2 images: use Flat"),
        (["app", "GALLERY", "--port=65536"], "port 65536 must be 1 to 65535"),
    ],
)  # fmt: skip
def test_settings_beyond_reason(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = {"CKPT": "cnn.ckpt", "PHOTOS": "photos", "GALLERY": "gallery"}
    for name, path in names.items():
        words = [word.replace(name, path) for word in words]
    capsys.readouterr()
    assert main([*words, *([] if words[0] == "app" else ["--device=cpu"])]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"carsfg: error: {message}"
    assert {path.name for path in folder.iterdir()} == {"photos", "cnn.ckpt", "gallery"}


def test_settings_of_the_data(make_cars: MakeCars) -> None:
    with pytest.raises(InputError, match=r"^data.batch_size 65537 is too large for any device: use 65536 or less"):
        make_cars(batch_size=65537)
    with pytest.raises(InputError, match=r"^data.image_size 4096 must be 1 to 2048 pixels$"):
        make_cars(image_size=4096)
    with pytest.raises(InputError, match=r"k or knn 1001 is too large: use 1000 or less$"):
        FaissRetrieval(k=[1, 1001])


def test_k_above_the_gallery_gives_the_whole_gallery(folder: Path) -> None:
    search = VisualSearch.open(folder / "gallery", box="none")
    assert len(search.search(folder / "photos" / "0.png", k=10**12).matches) == 2


def test_drawn_cars_that_the_disk_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import disk_usage

    usage = disk_usage(tmp_path)._replace(free=16 * 8000)
    monkeypatch.setattr("carsfg.synthetic.dataset.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"^80 drawn cars take 1 MB or more, 1 MB are free .*: draw 8 or fewer$"):
        draw_cars(tmp_path / "new", DrawnCars(classes=2, train=20, test=20))
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("small_memory")
def test_a_batch_that_does_not_fit(folder: Path, cnn: CarCNN) -> None:
    with pytest.raises(
        InputError, match=r"^batch_size 2: 40 MB are needed in memory or more, 1 MB are free: use batch_s"
    ):
        embed_photos(cnn, find_photos(folder / "photos"), 1000, batch_size=2)


@pytest.mark.usefixtures("small_memory")
def test_embeddings_that_do_not_fit(folder: Path, cnn: CarCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PICTURE_BYTES", MB)
    monkeypatch.setattr(build, "MAX_WIDTH", MB)
    message = (
        r"^2 embeddings of 8 numbers: 2 MB are needed in memory or more, 1 MB are free: name .* 1 images or fewer$"
    )
    with pytest.raises(InputError, match=message):
        embed_photos(cnn, find_photos(folder / "photos"), 32)


@pytest.mark.usefixtures("small_memory")
def test_an_index_that_does_not_fit(tmp_path: Path) -> None:
    Gallery.build(torch.randn(5000, 64), torch.zeros(5000, dtype=torch.int64)).save(tmp_path / "gallery")
    with pytest.raises(InputError, match=r"1 MB are needed in memory or more, 1 MB are free: add --mmap"):
        Gallery.load(tmp_path / "gallery")
    assert len(Gallery.load(tmp_path / "gallery", mmap=True)) == 5000


def test_images_that_do_not_fit_on_the_device(make_cars: MakeCars, monkeypatch: pytest.MonkeyPatch) -> None:
    cars = make_cars(on_device=True)
    cars.prepare_data()
    cars.setup("fit")
    monkeypatch.setattr(hardware, "free_memory", lambda _: 1000)
    factory = LoaderFactory(8, 0, on_device=True)
    with pytest.raises(
        InputError, match=r"^data.on_device true: 1 MB are needed in memory or more.*use data.on_device fal"
    ):
        factory._resident(cars.caches, torch.device("cpu"))


@pytest.mark.usefixtures("small_memory")
def test_a_table_with_more_rows_than_memory(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"path": ["a.png"] * 10_000, "label": ["a"] * 10_000}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"has 10,000 rows: 1 MB are needed in memory or more.*: use a smaller table$"):
        read_table(tmp_path / "t.parquet")

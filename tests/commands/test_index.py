"""`carsfg index`: the same folder gives the same bytes, what cannot be read is named, mistakes are one line."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.cli import main
from carsfg.data.class_names import class_attributes
from carsfg.data.image_folder import to_square
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.hardware import computes_in_bfloat16
from carsfg.run_record import RETRIEVAL, RunRecord
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import SIDE_PIXELS
from carsfg.tasks.checkpoints import load, save_network
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.fingerprint import fingerprint
from tests.conftest import NAMES

RECORD = RunRecord(
    data={"name": "drawn cars", "crop": True, "margin": 0.0, "image_size": 32}, trainer={"precision": "32-true"}
)
Index = Callable[..., Gallery]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of a small CNN with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "cnn.ckpt"
    save_network(CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), path, RECORD)
    return str(path)


@pytest.fixture
def garage(tmp_path: Path) -> Path:
    """Six images of noise of two classes, a cut-off one, one that is none, and hidden ones."""
    folder = tmp_path / "garage"
    noise = np.random.default_rng(0).integers(0, 256, (8, 40, 50, 3), np.uint8)
    for place, pixels in enumerate(noise):
        (folder / f"car {place % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"car {place % 2}" / f"{place}.png")
    (folder / "car 0/2.png").write_bytes((folder / "car 0/2.png").read_bytes()[:300])
    (folder / "car 1/5.png").write_text("no image")
    (folder / "car 1/.7.png").write_bytes((folder / "car 1/7.png").read_bytes())
    shutil.copytree(folder / "car 0", folder / ".trash")
    return folder


@pytest.fixture
def index(network: str, tmp_path: Path) -> Index:
    """Indexes a folder on the CPU; gives the gallery."""

    def run(folder: Path, *words: str, name: str = "gallery") -> Gallery:
        output = tmp_path / name
        assert main(["index", network, str(folder), f"--output={output}", "--device=cpu", *words]) == 0
        return Gallery.load(output)

    return run


@pytest.fixture(scope="module")
def drawn(drawn_root: Path) -> Path:
    (folder,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0/stanford_cars")
    return folder


def embeddings(gallery: Gallery) -> torch.Tensor:
    found = np.empty((len(gallery), gallery.width), np.float32)
    return torch.from_numpy(gallery.index.reconstruct_n(0, len(gallery), found))


def test_a_folder_with_classes(index: Index, garage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = index(garage)
    assert gallery.paths == ["car 0/0.png", "car 1/1.png", "car 1/3.png", "car 0/4.png", "car 0/6.png", "car 1/7.png"]
    assert gallery.class_names == ["car 0", "car 1"]
    assert gallery.labels.tolist() == [0, 1, 1, 0, 0, 1]
    assert gallery.metric == "cosine"
    assert len(gallery.calibration) == 6
    out, err = capsys.readouterr()
    settings, whole, *left_out = err.splitlines()
    assert settings.startswith("from the run: 32 px, 32-true; not recorded by the run: cosine")
    assert whole == "box: auto (the network learned from box crops)"
    assert [line.startswith("left out: ") for line in left_out] == [True, True, True]
    assert "hidden" in left_out[0]
    assert "car 0/2.png cannot be decoded" in left_out[1]
    assert "car 1/5.png is not an image" in left_out[2]
    first, second = out.splitlines()
    assert f"{tmp_path / 'gallery'}: 6 images of 2 classes, 2 could not be read; exact; " in first
    assert second == f"search with: carsfg search {tmp_path / 'gallery'} PHOTO"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_bytes_again(index: Index, garage: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        index(garage, name=name)
    kept = files(tmp_path / "one")
    assert kept == files(tmp_path / "two")
    index(garage, "--overwrite", name="one")
    assert kept == files(tmp_path / "one")
    for words in (["--factory=IVF2,Flat"], ["--factory=HNSW4"], ["--batch_size=1", "--metric=euclidean"]):
        for name in ("three", "four"):
            index(garage, "--overwrite=true", *words, name=name)
        assert files(tmp_path / "three") == files(tmp_path / "four")


def test_a_gallery_is_replaced_only_when_asked_for(
    index: Index, network: str, garage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(garage)
    kept = files(tmp_path / "gallery")
    words = [network, str(garage), f"--output={tmp_path / 'gallery'}", "--metric=euclidean", "--device=cpu"]
    capsys.readouterr()
    assert main(["index", *words]) == 2
    assert "gallery is a gallery of the same network already: add photos with `carsfg index " in (
        capsys.readouterr().err
    )
    assert files(tmp_path / "gallery") == kept


def test_an_empty_folder_is_filled(index: Index, garage: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(index(garage, name="empty")) == 6


def test_the_printed_command_can_be_pasted(
    index: Index, garage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(garage, name="my cars; $HOME")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("search with: "))
    assert shlex.split(line.removeprefix("search with: ")) == [
        "carsfg", "search", str(tmp_path / "my cars; $HOME"), "PHOTO"
    ]  # fmt: skip


def test_verify(index: Index, garage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index(garage)
    folder = tmp_path / "gallery"
    capsys.readouterr()
    assert main(["index", "--verify", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 6 images, all checksums match\n"
    thumbnails = folder / "thumbnails.npy"
    data = bytearray(thumbnails.read_bytes())
    data[-1] ^= 1
    thumbnails.write_bytes(data)
    assert main(["index", f"--verify={folder}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "thumbnails.npy" in err


def test_the_network_and_pictures_lie_in_it(index: Index, garage: Path, network: str, tmp_path: Path) -> None:
    gallery = index(garage, "--precision=32-true", "--box=none")
    assert gallery.fingerprint == fingerprint(load(network)) == fingerprint(load(tmp_path / "gallery/network.ckpt"))
    assert (gallery.record.data_name, gallery.record.precision) == ("drawn cars", "32-true")
    assert gallery.thumbnails is not None
    assert [gallery.thumbnails[place].size for place in range(6)] == [(50, 40)] * 6
    with Image.open(garage / "car 1/1.png") as image, torch.no_grad():
        expected = load(network).embed({"image": to_square(image, 32)[None]})
    torch.testing.assert_close(embeddings(gallery)[1:2], torch.nn.functional.normalize(expected))


@pytest.mark.parametrize(("words", "half"), [(["--precision=bf16-mixed"], True), ([], False)])
def test_precision(words: list[str], half: bool, index: Index, garage: Path, tmp_path: Path) -> None:
    """The network was trained in 32 bits, which it keeps unless told otherwise."""
    gallery = index(garage, *words)
    assert gallery.record.precision == ("bf16-mixed" if half else "32-true")
    search = VisualSearch.open(tmp_path / "gallery")
    assert search.bfloat16 is (half and computes_in_bfloat16("cpu"))
    for place, path in enumerate(gallery.paths):
        (match,) = search.search(garage / path, k=1).matches
        assert match.similarity == pytest.approx(1, abs=1e-3 if half else 1e-5)
        assert match.place == place or half


def test_settings_of_the_run(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Box crop, margin, stored size and metric are those of training, and what options change is said."""
    torch.manual_seed(0)
    data = {"crop": True, "margin": 0.5, "image_size": 48}
    record = RunRecord(data=data, callbacks={RETRIEVAL: {"metric": "euclidean"}}, trainer={"precision": "32-true"})
    task = CarCNN(class_names=NAMES, widths=[4, 8], image_size=32).eval()
    save_network(task, tmp_path / "run.ckpt", record)

    def run(*words: str) -> tuple[Gallery, str]:
        output = tmp_path / "from_run"
        given = [str(tmp_path / "run.ckpt"), str(drawn), f"--output={output}", "--split=test", "--device=cpu"]
        assert main(["index", *given, "--overwrite", *words]) == 0
        return Gallery.load(output), capsys.readouterr().err.splitlines()[0]

    gallery, line = run()
    assert line == "from the run: crop true, margin 0.5, 48 px, euclidean, 32-true"
    assert (gallery.metric, gallery.record.data) == (
        "euclidean",
        data | {"learned_from": "box crops", "box": "annotated"},
    )
    test = StanfordCars(drawn, "test", margin=0.5)
    with torch.no_grad():
        expected = task.embed({"image": torch.stack([to_square(test.load(place), 48) for place in range(len(test))])})
    stored = torch.stack([gallery.vector(place) for place in range(len(gallery))])  # type: ignore[misc]
    torch.testing.assert_close(stored, expected, atol=1e-5, rtol=1e-4)
    changed, line = run("--data.margin=0.2", "--metric=cosine")
    assert (
        line
        == "from the run: crop true, 48 px, 32-true; changed: margin 0.2 instead of 0.5, cosine instead of euclidean"
    )
    assert (changed.metric, changed.record.data["margin"]) == ("cosine", 0.2)


def test_stanford_cars_by_its_annotations(index: Index, drawn: Path, network: str) -> None:
    gallery = index(drawn.parent, "--precision=32-true")
    train, test = (StanfordCars(drawn, split) for split in ("train", "test"))
    assert gallery.class_names == train.class_names == NAMES
    assert gallery.labels.tolist() == [*train.labels.tolist(), *test.labels.tolist()]
    assert gallery.paths[0] == "stanford_cars/cars_train/00001.jpg"
    assert gallery.paths[40] == "stanford_cars/cars_test/00001.jpg"
    assert gallery.attributes.at(0) == {
        name: column[0] for name, column in class_attributes(NAMES, train.labels).items()
    }
    with torch.no_grad():
        crops = torch.stack([to_square(test.load(place), 32) for place in range(len(test))])
        expected = load(network).embed({"image": crops})
    torch.testing.assert_close(embeddings(gallery)[40:], torch.nn.functional.normalize(expected))


def test_splits_crops_and_margins(index: Index, drawn: Path) -> None:
    sizes = {}
    for words in ((), ("--data.margin=0.2",), ("--data.crop=false",)):
        gallery = index(drawn, "--split=test", "--overwrite", *words)
        assert len(gallery) == 20
        assert gallery.thumbnails is not None
        sizes[words] = [gallery.thumbnails[place].size for place in range(20)]
    for words, crop, margin in (((), True, 0), (("--data.margin=0.2",), True, 0.2), (("--data.crop=false",), False, 0)):
        test = StanfordCars(drawn, "test", crop, margin)
        for place, size in enumerate(sizes[words]):
            image = test.load(place)
            image.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
            assert image.size == size
    assert len({tuple(one) for one in sizes.values()}) == 3


def test_an_approximate_index_is_tuned_and_measured(
    index: Index, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = index(drawn, "--factory=IVF8,Flat")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "recall" in line)
    assert "; IVF8,Flat, recall@10 " in line
    assert " against exact search; " in line
    said = float(line.partition("recall@10 ")[2].split()[0])
    assert 0.97 <= said <= 1
    assert gallery.index.nprobe > 1
    own, exact = torch.arange(60), index(drawn, name="exact")
    found, truth = (one.search(embeddings(exact), 10, own)[1].tolist() for one in (gallery, exact))
    shared = sum(len({*one} & {*other}) for one, other in zip(found, truth, strict=True))
    assert shared / 600 == pytest.approx(said, abs=0.0006)  # of three digits


def test_known_cars_of_another_folder(
    index: Index, garage: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = index(drawn, "--split=train", f"--calibrate={garage}")
    assert len(gallery.calibration) == 6
    assert gallery.calibration != index(garage, name="other").calibration
    err = capsys.readouterr().err
    assert "left out: " in err
    assert "car 0/2.png" in err


def test_nothing_that_calibrates(network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("own/a.png", "own/b.png", "others/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), "red" if name.endswith("a.png") else "blue").save(tmp_path / name)
    (tmp_path / "others/bad.png").write_bytes(b"no image")
    words = [str(tmp_path / "own"), f"--calibrate={tmp_path / 'others'}", f"--output={tmp_path / 'g'}"]
    assert main(["index", network, *words, "--device=cpu"]) == 2
    assert "is readable and new: name other photos" in capsys.readouterr().err


def test_one_image(index: Index, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "one/red.png")
    gallery = index(tmp_path / "one")
    assert (len(gallery), gallery.class_names, gallery.calibration) == (1, ["one"], [])


def test_a_name_in_another_encoding(index: Index, tmp_path: Path) -> None:
    """As old archives have them: no text, but a file all the same."""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "caf\udce9.png").touch()
    Image.new("RGB", (9, 9), "red").save(folder / "red.png")
    shutil.copy(folder / "red.png", folder / "caf\udce9.png")
    assert index(folder).paths == ["caf\udce9.png", "red.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.ckpt", "FOLDER", "--output=g"], "no checkpoint nowhere.ckpt"),
        (["broken.ckpt", "FOLDER", "--output=g"], "cannot read checkpoint broken.ckpt"),
        (["CKPT", "nowhere", "--output=g"], "the folder or table nowhere does not exist"),
        (["CKPT", "empty", "--output=g"], "no image in empty: looked for .jpg"),
        (["CKPT", "bad", "--output=g"], "none of the 1 images in bad can be decoded: bad/1.jpg is not an image"),
        (["CKPT", "FOLDER"], "the following arguments are required: output; see `carsfg index --help`"),
        (["CKPT", "FOLDER", "--output=thesis"], "thesis exists and holds other files than those of a gallery"),
        (["CKPT", "FOLDER", "--output=thesis/three_years.txt/g"], "cannot write a gallery to "),
        (["CKPT", "FOLDER", "--output=g", "--factory=Flatt"], "cannot build the index 'Flatt' of 6 x 8 embeddings"),
        (["CKPT", "FOLDER", "--output=g", "--factory="], "it is empty, write Flat for an exact index"),
        (["CKPT", "FOLDER", "--output=g", "--metric=hamming"], "metric 'hamming' is not one of 'cosine', 'euclidean'"),
        (["CKPT", "FOLDER", "--output=g", "--split=test"], "has no split 'test': it has no folders train and test"),
        (["CKPT", "FOLDER", "--output=g", "--batch_size=0"], "--batch_size 0 must be 1 or more"),
        (
            ["CKPT", "FOLDER", "--output=g", "--batch-size=2"],
            "unknown option '--batch-size' (did you mean '--batch_size'?)",
        ),
        (
            ["CKPT", "FOLDER", "--output=g", "--data.crp=true"],
            "unknown option '--data.crp' (did you mean '--data.crop'?)",
        ),
        (["CKPT", "FOLDER", "--output=g", "--device=toaster"], "device 'toaster' is not available on this machine"),
        (["CKPT", "FOLDER", "--output=g", "--calibrate=empty"], "no image in empty"),
        (["CKPT", "FOLDER", "--output=g", "--calibrate", "FOLDER"], "all images of --calibrate '"),
        (["CKPT", "DRAWN", "--output=g", "--data.margin=-1"], "margin is -1.0"),
        (["--verify", "nowhere"], "no gallery in nowhere"),
        (["CKPT", "FOLDER", "--verify"], "verify"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    network: str,
    garage: Path,
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.ckpt").write_bytes(Path(network).read_bytes()[:500])
    for name in ("empty", "bad", "thesis"):
        Path(name).mkdir()
    Path("bad/1.jpg").write_text("no image")
    Path("thesis/three_years.txt").write_text("of work")
    given = {"CKPT": network, "FOLDER": str(garage), "DRAWN": str(drawn)}
    assert main(["index", *[given.get(word, word) for word in words]]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = (line for line in err.splitlines() if not line.startswith(("from the run: ", "box: auto")))
    assert line.startswith("carsfg: error: ")
    assert said in line
    assert not Path("g").exists()
    assert [path.name for path in Path("thesis").iterdir()] == ["three_years.txt"]


def test_facts_are_plain_json(index: Index, garage: Path, tmp_path: Path) -> None:
    index(garage)
    facts = json.loads((tmp_path / "gallery/gallery.json").read_text())
    assert facts["count"] == 6
    assert facts["record"]["data"] == RECORD.data | {"learned_from": "box crops", "box": "auto"}
    assert str(tmp_path) not in json.dumps(facts)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from carsfg.cli import main; main(['index', '--help']); print({'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--output OUTPUT" in done.stdout
    assert done.stdout.endswith("set()\n")

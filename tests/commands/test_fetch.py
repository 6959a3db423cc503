"""`carsfg data fetch`, as it is typed."""

import subprocess
import sys
from pathlib import Path

import pytest

from carsfg.cli import main as carsfg_main
from carsfg.data.fetch import catalogue
from tests.data.conftest import Photo, encode, gradient, write_cars
from tests.data.fetch.conftest import contents, zipped
from tests.data.sources.test_kaggle_cars import mirror
from tests.data.test_photo_datamodule import noise


def main(args: list[str]) -> int:
    return carsfg_main(["data", "fetch", *args])


@pytest.fixture
def three_cars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two training images, a test image and three classes are complete."""
    for name, number in (("TRAIN_IMAGES", 2), ("TEST_IMAGES", 1), ("CLASSES", 3)):
        monkeypatch.setattr(catalogue, name, number)


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    return write_cars(tmp_path / "source", [Photo(), Photo(2)], [Photo(3)]) / "stanford_cars"


def test_without_options_all_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["there"]) == 0
    out = capsys.readouterr().out
    for words in (
        "--source kaggle ", "jessicali9530/stanford-cars-dataset", "abdelrahmant11/standford-cars-dataset-meta",
        "jutrera/stanford-car-dataset-by-classes-folder", "--source huggingface ", "tanganke/stanford_cars",
        "lacks boxes", "lacks test labels", "--source url ", "pytorch/vision#7545", "--source folder ",
        "there/stanford_cars/{cars_test_annos_withlabels.mat,", "there/stanford_cars_by_class", "--config demo.yaml",
    ):  # fmt: skip
        assert words in out, words
    assert max(map(len, out.splitlines())) <= 120
    assert main(["my data"]) == 0
    assert " --data.root='my data/stanford_cars_by_class'" in capsys.readouterr().out


@pytest.mark.usefixtures("three_cars")
def test_complete_data_is_laid_out_and_checked(cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cars.zip").write_bytes(zipped(contents(cars)))
    assert main([str(tmp_path / "data"), "--source", "folder", str(tmp_path / "cars.zip")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "stanford_cars/cars_train: 2 files" in out
    assert "3 class names" in out


def test_counts_that_differ_are_named(cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "data"), "--source", "folder", str(cars)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "carsfg: the source is incomplete: 2 training and 1 test images of 3 classes, but Stanford Cars has 8,144 and "
        "8,041 of 196; try another source"
    ]


def test_the_counts_of_the_whole_data_set() -> None:
    assert catalogue.describe_counts(8144, 8041, 196) == ""
    assert "incomplete: 8,143 training" in catalogue.describe_counts(8143, 8041, 196)
    assert "and 8,040 test images" in catalogue.describe_counts(8144, 8040, 196)
    assert "of 195 classes" in catalogue.describe_counts(8144, 8041, 195)


@pytest.mark.parametrize(
    ("left_out", "missing", "repositories"),
    [
        ("cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat", [1]),
        ("devkit", "devkit/cars_meta.mat, devkit/cars_train_annos.mat", [1]),
        ("cars_test/", "cars_test", [0]),
        ("cars_t", "cars_train, cars_test, cars_test_annos_withlabels.mat", [0, 1]),
    ],
)
def test_missing_parts_are_named_with_the_source_that_has_them(
    cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], left_out: str, missing: str, repositories: list[int]
) -> None:
    files = {name: data for name, data in contents(cars).items() if not name.startswith(left_out)}
    (tmp_path / "cars.zip").write_bytes(zipped(files))
    root = tmp_path / "data"
    assert main([str(root), "--source", "folder", str(tmp_path / "cars.zip")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    names = " ".join(catalogue.DEFAULT_REPOSITORIES["kaggle"][place] for place in repositories)
    assert f"{root}/stanford_cars still lacks {missing}: " in line
    assert f"`carsfg data fetch {root} --source kaggle {names}` has " in line


@pytest.mark.usefixtures("three_cars")
def test_unreadable_images_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_cars(tmp_path / "source", [Photo(), Photo(2, data=encode(gradient())[:50])], [Photo(3)])
    assert main([str(tmp_path / "data"), "--source", "folder", str(source)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cars_train/00002.jpg cannot be decoded" in line


@pytest.mark.parametrize("leaks", [False, True])
def test_class_folders_say_that_they_lack_boxes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], leaks: bool
) -> None:
    for place, name in enumerate(("train/A/1.png", "train/B/2.png", "test/A/3.png")):
        path = tmp_path / "cars" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(0 if leaks else place))
    root = tmp_path / "data"
    assert main([str(root), "--source", "folder", str(tmp_path / "cars")]) == 2
    out, err = capsys.readouterr()
    assert "the source lacks boxes, so networks see whole photos: " in out
    assert f"`carsfg data fetch {root} --source kaggle` has boxes" in out
    option = " --data.allow_leaks=true" if leaks else ""
    assert f"--data=PhotoDataModule --data.root={root}/stanford_cars_by_class{option}\n" in out
    assert err == (
        "carsfg: the source is incomplete: 2 training and 1 test images of 2 classes, but Stanford Cars has 8,144 and "
        "8,041 of 196; try another source\n"
    )


def test_class_folders_with_boxes_lack_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("TRAIN_IMAGES", 2), ("TEST_IMAGES", 1), ("CLASSES", 2)):
        monkeypatch.setattr(catalogue, name, number)
    source = mirror(tmp_path / "cars", anno_train="00001.jpg,1,1,4,4,2\n00002.jpg,1,1,4,4,1\n")
    for path in source.rglob("*.jpg"):
        path.write_bytes(encode(gradient()))
    assert main([str(tmp_path / "data"), "--source", "folder", str(source)]) == 0
    out, err = capsys.readouterr()
    assert "lacks boxes" not in out
    assert err == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["x", "--source", "kagle"], ["unknown source 'kagle' (did you mean 'kaggle'?)", "huggingface, url, folder"]),
        (["x", "--source", "folder"], ["--source folder needs paths after it"]),
        (["--source", "kaggle", "data"], ["'data' is not a data set of kaggle: give OWNER/NAME"]),
        (["x", "--sha256", "0"], ["--sha256 needs --source url or folder"]),
        (["x", "--source", "url", "http://127.0.0.1:9/x.zip"], ["http://127.0.0.1:9/x.zip cannot be reached"]),
        (["x", "--source", "url", "http://127.0.0.1:9/x", "--timeout", "0"], ["timeout 0 must be more than 0 seconds"]),
        (["x", "--url", "http://127.0.0.1:9/x.zip"], ["unknown option '--url'"]),
    ],
)
def test_mistakes_are_one_line(
    args: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert [word for word in words if word not in err] == []


def test_help_and_list_import_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--timeout" in capsys.readouterr().out
    heavy = "{'torch', 'scipy', 'kagglehub', 'huggingface_hub', 'pyarrow'}"
    code = f"import sys; from carsfg.cli import main; main(['data', 'fetch']); print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"

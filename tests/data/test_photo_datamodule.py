"""Photos of one's own through the DataModule: folders and tables, drawn and given splits."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.data.sources.stanford_cars import read_stanford_cars
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from tests.data.conftest import encode

COUNTS = {"Audi": 10, "BMW": 10, "Citroën": 5, "Dacia": 2}


def noise(seed: int) -> bytes:
    """A picture that resembles no other one."""
    cells = np.random.default_rng(seed).integers(0, 256, (16, 17, 3), np.uint8)
    return encode(cells.repeat(2, 0).repeat(2, 1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for place, (name, count) in enumerate(COUNTS.items()):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(noise(100 * place + number))
    return tmp_path / "photos"


def ready(root: Path, **arguments: Any) -> PhotoDataModule:
    data = PhotoDataModule(root=str(root), **{"image_size": 32, "batch_size": 4, "num_workers": 0, **arguments})
    data.prepare_data()
    data.setup("fit")
    return data


def counts(data: PhotoDataModule, rows: Any) -> dict[str, int]:
    return dict(Counter(data.all_class_names[label] for label in data.labels[rows]))


def test_splits_are_drawn_per_class(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ready(photos)
    assert data.class_names == ["Audi", "BMW", "Citroën"]
    assert counts(data, data.splits.test) == {"Audi": 2, "BMW": 2, "Citroën": 1}
    assert counts(data, data.splits.val) == {"Audi": 1, "BMW": 1, "Citroën": 1}
    assert counts(data, data.splits.train) == {"Audi": 7, "BMW": 7, "Citroën": 3}
    assert data.train_class_counts.tolist() == [7, 7, 3]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 32, 32)
    assert ready(photos).split_hash == data.split_hash
    assert ready(photos, split_seed=1).split_hash != data.split_hash
    assert "25 images of 3 classes: 20 to train and validate, 5 to test" in caplog.text
    assert "1 class has fewer than 4 images, left out: Dacia" in caplog.text


def test_small_classes_as_gallery_items(photos: Path) -> None:
    data = ready(photos, keep_small_classes=True, retrieval="closed_train_gallery")
    assert data.class_names == ["Audi", "BMW", "Citroën"]
    assert data.all_class_names == ["Audi", "BMW", "Citroën", "Dacia"]
    for rows in (data.splits.train, data.splits.val, data.splits.test):
        assert "Dacia" not in counts(data, rows)
    for part in ("val", "test"):
        assert counts(data, data.gallery_rows(part))["Dacia"] == 2


def test_what_is_known_of_the_data_is_described(photos: Path) -> None:
    described = ready(photos).describe()
    expected = {"name": "photos", "classes": 3, "train_images": 17, "test_images": 5, "crop": False, "leaks": 0}
    assert {key: described[key] for key in expected} == expected
    assert described["class_path"] == "carsfg.data.photo_datamodule.PhotoDataModule"


def test_copies_and_near_duplicates_stay_on_one_side(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(photos / "Audi/0.png", photos / "Audi/copy.png")
    Image.open(photos / "BMW/1.png").resize((68, 64)).save(photos / "BMW/larger.jpg", quality=95)
    for seed in range(8):
        data = ready(photos, split_seed=seed)
        side = {path.name: str(part) for path, part in zip(data.paths, data.parts, strict=True) if "Audi" in str(path)}
        assert side["0.png"] == side["copy.png"]
        side = {path.name: str(part) for path, part in zip(data.paths, data.parts, strict=True) if "BMW" in str(path)}
        assert side["1.png"] == side["larger.jpg"]
    assert "4 images stay together in 2 sets (2 byte-identical, 4 near duplicates)" in caplog.text
    assert "left out: 1 hidden" not in caplog.text


def given(photos: Path, parts: dict[int, str]) -> Path:
    """Lay the photos out by split: the number of a photo decides, `train` otherwise."""
    for path in sorted(photos.glob("*/*.png")):
        target = photos.parent / "given" / parts.get(int(path.stem), "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return photos.parent / "given"


def test_given_splits_are_kept(photos: Path) -> None:
    data = ready(given(photos, {0: "valid", 1: "test", 2: "test"}))
    assert data.splits.val is not None
    assert {path.stem for path in np.array(data.paths)[data.splits.val]} == {"0"}
    assert {path.stem for path in np.array(data.paths)[data.splits.test]} == {"1", "2"}
    assert counts(data, data.splits.train) == {"Audi": 7, "BMW": 7, "Citroën": 2}


def test_a_leak_between_given_splits(photos: Path) -> None:
    root = given(photos, {1: "test"})
    shutil.copy(root / "train/Audi/5.png", root / "test/Audi/copy.png")
    with pytest.raises(InputError, match=r"1 set of .* in two splits, such as t.*--data.allow_leaks=true"):
        ready(root)
    data = ready(root, allow_leaks=True)
    assert (data.leaks, data.describe()["leaks"], data.describe()["allow_leaks"]) == (1, 1, True)


def table(root: Path, folder: Path) -> Path:
    """Write drawn cars as a table of boxes of whole photos."""
    file = root / "cars.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path", "label", "split", "x0", "y0", "x1", "y1", "make"])
        for part in ("train", "test"):
            cars = read_stanford_cars(folder, part)
            assert cars.boxes is not None
            for row in range(len(cars)):
                name = cars.class_names[int(cars.labels[row])]
                writer.writerow([cars.paths[row], name, part, *cars.boxes[row].tolist(), cars.attributes["make"][row]])
    return file


def test_the_same_images_as_a_table_and_by_annotations(tmp_path: Path) -> None:
    draw_cars(tmp_path / "drawn", DrawnCars(classes=4, train=10, test=5))
    cars = StanfordCarsDataModule(root=str(tmp_path / "drawn"), image_size=32)
    cars.prepare_data()
    cars.setup("fit")
    data = ready(table(tmp_path, tmp_path / "drawn"), allow_leaks=True)
    assert data.class_names == sorted(cars.class_names) != cars.class_names
    other = PhotoDataModule(root=str(tmp_path / "cars.csv"), image_size=32, allow_leaks=True)
    other.use_class_names(cars.class_names)
    other.prepare_data()
    other.setup("fit")
    assert other.class_names == cars.class_names
    assert data.split_hash == other.split_hash == cars.split_hash
    np.testing.assert_array_equal(other.crops(np.arange(60)), cars.crops(np.arange(60)))
    assert other.labels.tolist() == cars.labels.tolist()
    assert other.source.attributes["make"] == cars.source.attributes["make"]


def test_settings_that_make_no_sense(photos: Path) -> None:
    with pytest.raises(InputError, match="seed_leaky' repeats a fault of the paper"):
        PhotoDataModule(root=str(photos), protocol="seed_leaky", val="holdout")
    with pytest.raises(InputError, match=r"data\.min_images 0 must be 1 or more"):
        PhotoDataModule(root=str(photos), min_images=0)


def test_attributes_that_are_equal_within_each_class(photos: Path) -> None:
    lines = ["path,label,country,colour"]
    for path in sorted(photos.glob("*/*.png")):
        country = {"Audi": "DE", "BMW": "DE", "Citroën": "FR"}.get(path.parent.name, "RO")
        lines.append(f"{path.relative_to(photos)},{path.parent.name},{country},{path.stem}")
    (photos / "cars.csv").write_text("\n".join(lines), encoding="utf-8")
    assert ready(photos / "cars.csv").class_attributes == {"country": ["DE", "DE", "FR"]}
    assert ready(photos).class_attributes == {}

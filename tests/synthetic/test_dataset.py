"""Drawn cars: layout, labels, boxes, duplicates, and images that do not change unnoticed."""

import hashlib
import json
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.io import loadmat
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.datasets import StanfordCars

from carsfg.errors import InputError
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.dataset import _VERSION, DrawnCars, draw_cars
from carsfg.synthetic.scene import draw_scene

Array = npt.NDArray[np.float64]
ANNOTATIONS = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
TINY = DrawnCars(classes=3, train=4, test=2)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_cars(tmp_path_factory.mktemp("drawn"), progress=False)


def files_of(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rows_of(folder: Path, split: str) -> list[tuple[Path, int, tuple[int, int, int, int]]]:
    """(image, 1-based class, box) of every annotation."""
    records = loadmat(folder / ANNOTATIONS[split], squeeze_me=True)["annotations"]
    rows = []
    for record in records:
        x1, y1, x2, y2 = (int(record[field]) for field in FIELDS[:4])
        rows.append((folder / f"cars_{split}" / str(record["fname"]), int(record["class"]), (x1, y1, x2, y2)))
    return rows


def duplicates_of(folder: Path) -> list[list[tuple[str, int]]]:
    """Groups of byte-identical images, each image as (split, class)."""
    groups = defaultdict(list)
    for split in ("train", "test"):
        for path, label, _ in rows_of(folder, split):
            groups[hashlib.sha256(path.read_bytes()).hexdigest()].append((split, label))
    return [group for group in groups.values() if len(group) > 1]


def crops_of(folder: Path, split: str) -> tuple[Array, Array]:
    """Box crops (n, 32, 32, 3) in 0..1 and labels (n,)."""
    crops, labels = [], []
    for path, label, (x1, y1, x2, y2) in rows_of(folder, split):
        with Image.open(path) as image:
            crops.append(np.asarray(image.convert("RGB").crop((x1 - 1, y1 - 1, x2, y2)).resize((32, 32))) / 255)
        labels.append(label)
    return np.stack(crops), np.array(labels, dtype=np.float64)


def histograms(crops: Array) -> Array:
    """Colour histograms (n, 512) with 8 bins per channel; rows sum to 1."""
    bins = np.minimum(crops * 8, 7).astype(np.int64).reshape(len(crops), -1, 3) @ np.array((64, 8, 1))
    return np.stack([np.bincount(row, minlength=512) / row.size for row in bins])


@pytest.fixture(scope="module")
def crops(drawn: Path) -> dict[str, tuple[Array, Array]]:
    return {split: crops_of(drawn, split) for split in ANNOTATIONS}


def test_torchvision_reads_both_splits(drawn: Path) -> None:
    train, test = (StanfordCars(drawn.parent, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (720, 240)
    assert [sum(label == c for _, label in train._samples) for c in range(12)] == [60] * 12
    image, label = train[0]
    assert image.mode == "RGB"
    assert 0 <= label < 12
    assert train.classes == [car_model(c).name for c in range(12)]


def test_mat_files_have_the_fields_and_types_of_the_real_ones(drawn: Path) -> None:
    records = loadmat(drawn / ANNOTATIONS["train"])["annotations"]
    assert records.shape == (1, 720)
    assert records.dtype.names == FIELDS
    first = records[0, 0]
    assert {first[field].dtype for field in FIELDS[:5]} <= {np.dtype(np.uint8), np.dtype(np.uint16)}
    assert first["class"].shape == (1, 1)
    assert first["fname"].tolist() == ["00001.jpg"]
    names = loadmat(drawn / "devkit" / "cars_meta.mat")["class_names"]
    assert names.shape == (1, 12)


def test_boxes_are_inside_and_some_reach_the_border(drawn: Path) -> None:
    edge, rows = 0, rows_of(drawn, "train")
    for path, _, (x1, y1, x2, y2) in rows:
        with Image.open(path) as image:
            assert 1 <= x1 < x2 <= image.width
            assert 1 <= y1 < y2 <= image.height
            edge += x1 == 1 or x2 == image.width
    assert 1 / 20 < edge / len(rows) < 1 / 8


def test_some_images_have_one_channel(drawn: Path) -> None:
    modes = []
    for path, _, _ in rows_of(drawn, "train") + rows_of(drawn, "test"):
        with Image.open(path) as image:
            modes.append(image.mode)
    assert set(modes) == {"RGB", "L"}
    assert 1 / 60 < modes.count("L") / len(modes) < 1 / 15


def test_names_follow_the_real_pattern() -> None:
    names = [car_model(label).name for label in range(196)]
    assert len(set(names)) == 196
    assert [name for name in names if "/" in name] == ["Dunmore C/V Cargo Van 2012"]
    assert names[1] == "Dunmore C/V Cargo Van 2012"
    assert names[:2] != sorted(names[:2])
    assert len({name.split()[0] for name in names}) == 14
    assert len({name.split()[0] for name in names[:12]}) == 4


def test_every_model_looks_different() -> None:
    models = [car_model(label) for label in range(196)]
    assert len({(model.body, model.lamp, model.grille) for model in models}) == 196


def test_duplicates_have_different_labels_within_train_and_across_splits(drawn: Path) -> None:
    groups = duplicates_of(drawn)
    assert sorted([split for split, _ in group] for group in groups) == [["train", "test"], ["train", "train"]]
    assert all(len({label for _, label in group}) == 2 for group in groups)


def test_few_images_have_one_duplicate_across_splits(tmp_path: Path) -> None:
    (group,) = duplicates_of(draw_cars(tmp_path, TINY, progress=False))
    assert [split for split, _ in group] == ["train", "test"]


def test_the_same_spec_gives_the_same_bytes_and_another_seed_different_ones(tmp_path: Path) -> None:
    first, again = (files_of(draw_cars(tmp_path / name, TINY, progress=False)) for name in "ab")
    other = files_of(draw_cars(tmp_path / "c", DrawnCars(classes=3, train=4, test=2, seed=1), progress=False))
    assert len(first) == 3 * 6 + 4
    assert first == again
    assert first["cars_train/00001.jpg"] != other["cars_train/00001.jpg"]


def test_existing_drawn_cars_are_kept(tmp_path: Path) -> None:
    folder = draw_cars(tmp_path, TINY, progress=False)
    before = (folder / "cars_train" / "00001.jpg").stat().st_mtime_ns
    assert draw_cars(str(tmp_path), TINY, progress=False) == folder
    assert (folder / "cars_train" / "00001.jpg").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["stanford_cars"]


def test_folders_with_other_content_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "stanford_cars"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(
        InputError, match=r"contains files that are not drawn cars; remove the folder or choose another root$"
    ):
        draw_cars(tmp_path, TINY, progress=False)
    (folder / "drawn_cars.json").write_text(json.dumps({"version": 0}))
    with pytest.raises(InputError, match="contains different drawn cars"):
        draw_cars(tmp_path, TINY, progress=False)
    assert (folder / "mine.txt").read_text() == "keep"


def test_an_unusable_root_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"^cannot write '.*stanford_cars' .*; free some disk space or choose another root$"
    ):
        draw_cars(tmp_path / "file", TINY, progress=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": 1}, "'1' is out of range for classes; use 2 to 196"),
        ({"classes": 197}, "'197' is out of range for classes; use 2 to 196"),
        ({"train": 0}, "'0' is out of range for train; use 1 to 10000"),
        ({"test": 10001}, "'10001' is out of range for test; use 1 to 10000"),
        ({"seed": -1}, "'-1' is out of range for seed; use at least 0"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=f"^drawn cars: {message}$"):
        DrawnCars(**values)


@pytest.mark.parametrize(
    ("label", "size", "box", "grey"),
    [
        (3, (278, 169), (42, 48, 242, 131), [[106, 109, 117, 118], [158, 156, 156, 153], [197, 186, 175, 179]]),
        (6, (182, 172), (20, 72, 174, 135), [[92, 91, 99, 102], [112, 128, 131, 120], [178, 172, 167, 156]]),
    ],
)
def test_images_do_not_change_without_a_new_version(
    label: int, size: tuple[int, int], box: tuple[int, int, int, int], grey: list[list[int]]
) -> None:
    """Mean grey levels of 4 x 3 cells, recorded from version 2; library versions may differ by a level or two."""
    image, found = draw_scene(car_model(label), 2, np.random.default_rng((5, label)))
    assert _VERSION == 2
    assert (image.size, found) == (size, box)
    cells = np.asarray(image.convert("L").resize((4, 3), Image.Resampling.BOX))
    np.testing.assert_allclose(cells, grey, atol=2)


def test_two_concurrent_calls_leave_one_complete_folder(tmp_path: Path) -> None:
    threads = [threading.Thread(target=draw_cars, args=(tmp_path, TINY, False)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["stanford_cars"]
    assert len(files_of(tmp_path)) == 3 * 6 + 4


@pytest.mark.parametrize("strength", [0.0001, 0.001, 0.01])
@pytest.mark.parametrize("view", ["pixels", "colours"])
def test_a_linear_probe_stays_under_twice_chance(
    crops: dict[str, tuple[Array, Array]], view: str, strength: float
) -> None:
    (train, labels), (test, truth) = crops["train"], crops["test"]
    shown, asked = (histograms(x) if view == "colours" else x.reshape(len(x), -1) for x in (train, test))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(shown, labels)
    assert probe[-1].n_iter_.max() < 2000
    assert probe.score(asked, truth) < 2 / 12

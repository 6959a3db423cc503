"""Stanford Cars as the mirror by class folders has it."""

from pathlib import Path

import pytest

from carsfg.data.sources.kaggle_cars import is_kaggle_cars, read_kaggle_cars
from carsfg.errors import InputError
from tests.data.test_image_folder import fill

NAMES = ["Ram C/V Cargo Van Minivan 2012", "Acura TL Sedan 2012"]
TABLES = {
    "names.csv": "\n".join(NAMES) + "\n",
    "anno_train.csv": "00001.jpg,39,116,569,375,2\n00002.jpg,1,1,4,4,1\n",
    "anno_test.csv": "00001.jpg,3,2,6,5,1\n",
}


def mirror(root: Path, **changed: str) -> Path:
    fill(
        root / "car_data/car_data",
        "train/Acura TL Sedan 2012/00001.jpg",
        "train/Ram C-V Cargo Van Minivan 2012/00002.jpg",
        "test/Ram C-V Cargo Van Minivan 2012/00001.jpg",
    )
    for name, text in (TABLES | {f"{name}.csv": text for name, text in changed.items()}).items():
        (root / name).write_text(text)
    return root


def test_classes_boxes_and_splits(tmp_path: Path) -> None:
    source = read_kaggle_cars(mirror(tmp_path))
    assert is_kaggle_cars(tmp_path)
    assert source.class_names == NAMES
    assert source.labels.tolist() == [1, 0, 0]
    assert source.parts == ["train", "train", "test"]
    assert source.boxes is not None
    assert source.boxes.tolist() == [[38, 115, 569, 375], [0, 0, 4, 4], [2, 1, 6, 5]]  # 0-based and half-open
    assert source.name(2) == "car_data/car_data/test/Ram C-V Cargo Van Minivan 2012/00001.jpg"
    assert source.attributes["body"] == ["Sedan", "Minivan", "Minivan"]


def test_other_folders_are_not_the_mirror(tmp_path: Path) -> None:
    assert not is_kaggle_cars(fill(tmp_path, "car_data/a/1.jpg"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"anno_test": "00009.jpg,3,2,6,5,1\n"}, "row 1: there is no image test/CLASS/00009.jpg"),
        ({"anno_train": "00001.jpg,39,116,569,375,3\n"}, "row 1: class 3, but names.csv has 2"),
        ({"anno_train": "00001.jpg,39,116,569\n"}, "row 1 is not a file name with five whole numbers"),
        ({"anno_train": "00001.jpg,39,116,569,375,x\n"}, "row 1 is not a file name with five whole numbers"),
    ],
)
def test_damaged_tables(changed: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_kaggle_cars(mirror(tmp_path, **changed))

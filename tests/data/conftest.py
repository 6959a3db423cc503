"""Tiny data sets in the layout of Stanford Cars, written file by file."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
from PIL import Image

NAMES = ("Zeta Comet Sedan 2012", "Ram C/V Cargo Van Minivan 2012", "Acura TL Sedan 2012")
FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")


def gradient(width: int = 10, height: int = 8, shift: int = 0) -> npt.NDArray[np.uint8]:
    """An RGB image (H, W, 3) in which red is 10 x, green 10 y, and blue the same everywhere."""
    y, x = np.mgrid[:height, :width]
    return np.stack([10 * x, 10 * y, np.full_like(x, shift)], axis=2).astype(np.uint8)


def encode(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Encode an image; PNG by default, since Pillow goes by the content and the tests want exact pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@dataclass(frozen=True)
class Photo:
    """One annotated image: a class and inclusive corners of a box, counted from 1, and the file's bytes."""

    label: int = 1
    box: tuple[int, int, int, int] = (3, 2, 6, 5)
    data: bytes | None = encode(gradient())


def write_annotations(path: Path, photos: Sequence[Photo], fields: Sequence[str] = FIELDS) -> None:
    """Write an annotation file with the smallest unsigned integers, as the real ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = np.empty((1, len(photos)), dtype=[(field, object) for field in fields])
    for place, photo in enumerate(photos):
        values = [np.array([[v]], np.min_scalar_type(v)) for v in (*photo.box, photo.label)]
        row = dict(zip(FIELDS, [*values, f"{place + 1:05}.jpg"], strict=True))
        table[0, place] = tuple(row[field] for field in fields)
    scipy.io.savemat(str(path), {"annotations": table})


def write_cars(
    root: Path, train: Sequence[Photo], test: Sequence[Photo] = (Photo(),), names: Sequence[str] = NAMES
) -> Path:
    """Write a whole data set under `root/stanford_cars`; a photo without data gets no file."""
    folder = root / "stanford_cars"
    write_annotations(folder / "devkit/cars_train_annos.mat", train)
    write_annotations(folder / "cars_test_annos_withlabels.mat", test)
    scipy.io.savemat(str(folder / "devkit/cars_meta.mat"), {"class_names": np.array([names], dtype=object)})
    for split, photos in (("train", train), ("test", test)):
        (folder / f"cars_{split}").mkdir()
        for place, photo in enumerate(photos):
            if photo.data is not None:
                (folder / f"cars_{split}" / f"{place + 1:05}.jpg").write_bytes(photo.data)
    return root


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    """Three training images of different size and class, one test image."""
    photos = [
        Photo(label=1),
        Photo(label=2, box=(1, 1, 20, 30), data=encode(gradient(20, 30))),
        Photo(label=3, box=(1, 1, 300, 4), data=encode(gradient(300, 4))),
    ]
    return write_cars(tmp_path, photos)


@pytest.fixture
def real_root() -> Path:
    """The folder of the real data, in `CARSFG_DATA`; the test is skipped without it."""
    if "CARSFG_DATA" not in os.environ:
        pytest.skip("needs the real data, in the folder named by CARSFG_DATA")
    return Path(os.environ["CARSFG_DATA"])

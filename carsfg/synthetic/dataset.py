"""Drawn cars: a seeded stand-in for Stanford Cars, written in its layout, for tests and demonstrations."""

import io
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from carsfg.errors import InputError
from carsfg.progress import track
from carsfg.synthetic.catalogue import MOST, car_model
from carsfg.synthetic.scene import Box, draw_scene

_VERSION = 2  # raise whenever the same spec gives other pictures
_STAMP = "drawn_cars.json"
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class DrawnCars:
    """What to draw: a spec gives the same files, bit by bit, whenever it is drawn.

    Attributes:
        classes: how many models, 2 to 196; the first ones of one fixed catalogue.
        train: images a class in the train split, at least 1.
        test: images a class in the test split, at least 1.
        seed: of everything that does not tell a class.

    Raises:
        InputError: a count is out of its range.
    """

    classes: int = 12
    train: int = 60
    test: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= MOST:
            raise InputError(f"Drawn cars come in 2 to {MOST} classes, not {self.classes}: give another number.")
        if min(self.train, self.test) < 1 or self.seed < 0:
            raise InputError("Drawn cars need at least one train and one test image a class, and a seed of 0 or more.")


def draw_cars(root: str | Path, spec: DrawnCars = DrawnCars(), progress: bool = True) -> Path:
    """Draw `spec` into `root/stanford_cars`, in the layout of Stanford Cars (torchvision reads it, too).

    All is written beside the folder and renamed at the end, so neither an interrupted run nor two at once leave
    anything half. Drawings that are there already are kept, and the call returns at once.

    Args:
        root: the folder to put `stanford_cars` into; made if missing.
        spec: what to draw.
        progress: show a progress bar.

    Returns:
        The folder `root/stanford_cars`.

    Raises:
        InputError: the folder is there but does not hold these drawings, or it cannot be written.
    """
    target = Path(root) / "stanford_cars"
    if target.exists():
        return _kept(target, spec)
    beside = target.with_name(f".stanford_cars-{uuid.uuid4().hex}")
    try:
        _write(beside, spec, progress)
        try:
            beside.rename(target)
        except OSError:
            if not target.exists():
                raise
            return _kept(target, spec)  # another process was first
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror}): free some space or give another root."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _stamp(spec: DrawnCars) -> dict[str, int]:
    return {"version": _VERSION, **asdict(spec)}


def _kept(target: Path, spec: DrawnCars) -> Path:
    """The folder, if its stamp says that it holds these drawings."""
    try:
        found = json.loads((target / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != _stamp(spec):
        what = "other drawn cars" if isinstance(found, dict) else "something else than drawn cars"
        raise InputError(f"{target} holds {what}: remove it or give another root.")
    return target


def _write(folder: Path, spec: DrawnCars, progress: bool) -> None:
    """Draw everything into a new folder; the stamp comes last."""
    (folder / "devkit").mkdir(parents=True)
    labels, boxes = {}, {}
    for split in _SPLITS:
        (folder / f"cars_{split}").mkdir()
        labels[split], boxes[split] = _draw_split(folder, spec, split, progress)
    for source, copy in _twins(spec, labels):
        shutil.copyfile(_image(folder, *source), _image(folder, *copy))
        boxes[copy[0]][copy[1]] = boxes[source[0]][source[1]]
    _save(folder / "devkit" / "cars_train_annos.mat", annotations=_annotations(labels["train"], boxes["train"]))
    _save(folder / "cars_test_annos_withlabels.mat", annotations=_annotations(labels["test"], boxes["test"]))
    names = np.array([[car_model(label).name for label in range(spec.classes)]], dtype=object)
    _save(folder / "devkit" / "cars_meta.mat", class_names=names)
    (folder / _STAMP).write_text(json.dumps(_stamp(spec)) + "\n", encoding="utf-8")


def _image(folder: Path, split: str, index: int) -> Path:
    return folder / f"cars_{split}" / f"{index + 1:05d}.jpg"


def _draw_split(folder: Path, spec: DrawnCars, split: str, progress: bool) -> tuple[list[int], list[Box]]:
    """Draw a split's images in shuffled order; gives their 0-based labels and their boxes."""
    part, count = _SPLITS.index(split), spec.train if split == "train" else spec.test
    order = np.random.default_rng((spec.seed, part)).permutation(spec.classes * count).tolist()
    labels, boxes = [], []
    for index, item in enumerate(track(order, f"drawing {split} cars", progress)):
        label, number = divmod(item, count)
        picture, box = draw_scene(car_model(label), number, np.random.default_rng((spec.seed, part, label, number)))
        picture.save(_image(folder, split, index), quality=90)
        labels.append(label)
        boxes.append(box)
    return labels, boxes


def _twins(spec: DrawnCars, labels: dict[str, list[int]]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of images to make byte-identical under two different labels, as the real data have some.

    One pair across the splits for every 600 train images, at least one; within train, none below 600.
    """
    rng = np.random.default_rng((spec.seed, len(_SPLITS)))
    within = len(labels["train"]) // 600
    free = {split: rng.permutation(len(labels[split])).tolist() for split in _SPLITS}
    for pair in range(within + max(within, 1)):
        split, source = "train" if pair < within else "test", free["train"].pop()
        copy = next(index for index in free[split] if labels[split][index] != labels["train"][source])
        free[split].remove(copy)
        yield ("train", source), (split, copy)


def _annotations(labels: list[int], boxes: list[Box]) -> Any:
    """The record array of the real files: the smallest unsigned integers that hold the 1-based values."""
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    records = np.empty((1, len(labels)), dtype=[(field, object) for field in fields])
    for index, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        numbers = (np.array(value, dtype=np.min_scalar_type(value)) for value in (*box, label + 1))
        records[0, index] = (*numbers, f"{index + 1:05d}.jpg")
    return records


def _save(path: Path, **variables: Any) -> None:
    """Write a `.mat` file without the date in its head, so that equal contents are equal bytes."""
    buffer = io.BytesIO()
    savemat(buffer, variables)  # type: ignore[arg-type]  # the stubs know only of paths
    path.write_bytes(b"MATLAB 5.0 MAT-file, drawn by carsfg".ljust(116) + buffer.getvalue()[116:])

"""Drawn cars: a seeded synthetic data set in the folder layout of Stanford Cars."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from carsfg.errors import InputError
from carsfg.files import replacing, show_bytes
from carsfg.progress import track
from carsfg.synthetic.catalogue import MODEL_COUNT, SPEC_FILE, car_model
from carsfg.synthetic.scene import Box, draw_scene
from carsfg.untrusted import parse_json

MAX_DRAWN = 10_000  # images per class and split
DRAWN_IMAGE_BYTES = 8000  # of a file, at least
_VERSION = 2  # increase when the same spec produces different images
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class DrawnCars:
    """Specification of a drawn data set. The same specification always produces byte-identical files.

    Attributes:
        classes: number of classes, 2 to 196; always the first ones of the catalogue.
        train: number of training images per class, 1 to 10,000.
        test: number of test images per class, 1 to 10,000.
        seed: random seed, at least 0, for everything that does not depend on the class (pose, colours, background).

    Raises:
        InputError: a value is out of range.
    """

    classes: int = 12
    train: int = 60
    test: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {"classes": (2, MODEL_COUNT), "train": (1, MAX_DRAWN), "test": (1, MAX_DRAWN), "seed": (0, None)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value < low or (high is not None and value > high):
                allowed = f"at least {low}" if high is None else f"{low} to {high}"
                raise InputError(f"drawn cars: '{value}' is out of range for {name}; use {allowed}")


def draw_cars(root: str | Path, spec: DrawnCars = DrawnCars(), progress: bool = True) -> Path:
    """Draw a data set into `root/stanford_cars`, in the layout of Stanford Cars (torchvision can read it, too).

    The files are written to a temporary folder, which is renamed at the end. An interrupted call and two concurrent
    calls therefore leave no incomplete folder. If the same data set exists already, the call returns immediately.

    Args:
        root: parent folder of `stanford_cars`; created if missing.
        spec: number of classes and images, and the seed.
        progress: whether to show a progress bar.

    Returns:
        Path of `root/stanford_cars`.

    Raises:
        InputError: the folder exists with different content, or it cannot be written.
    """
    target = Path(root) / "stanford_cars"
    if not target.exists():
        _check_room(target, spec)
        try:
            with replacing(target, keep_folder=True) as beside:
                _write(beside, spec, progress)
        except OSError as error:
            raise InputError(
                f"cannot write '{target}' ({error.strerror}); free some disk space or choose another root"
            ) from error
    return _check_existing(target, spec)  # also one that another process has drawn meanwhile


def _check_room(target: Path, spec: DrawnCars) -> None:
    """Refuse a data set that the disk cannot hold, before anything is drawn.

    Raises:
        InputError: the disk has less free space.
    """
    there = next(folder for folder in target.absolute().parents if folder.exists())
    count = spec.classes * (spec.train + spec.test)
    free = shutil.disk_usage(there).free
    if count * DRAWN_IMAGE_BYTES > free:
        raise InputError(
            f"{count:,} drawn cars take {show_bytes(count * DRAWN_IMAGE_BYTES)} or more, {show_bytes(free)} are free "
            f"on the disk of '{there}': draw {free // (2 * DRAWN_IMAGE_BYTES):,} or fewer"
        )


def _spec_content(spec: DrawnCars) -> dict[str, int]:
    return {"version": _VERSION, **asdict(spec)}


def _check_existing(target: Path, spec: DrawnCars) -> Path:
    """Return the folder if its spec file is the expected one, else raise InputError."""
    try:
        content = parse_json((target / SPEC_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if content != _spec_content(spec):
        kind = "different drawn cars" if isinstance(content, dict) else "files that are not drawn cars"
        raise InputError(f"'{target}' contains {kind}; remove the folder or choose another root")
    return target


def _write(folder: Path, spec: DrawnCars, progress: bool) -> None:
    """Draw everything into a new folder; the spec file is written last."""
    (folder / "devkit").mkdir(parents=True)
    labels, boxes = {}, {}
    for split in _SPLITS:
        (folder / f"cars_{split}").mkdir()
        labels[split], boxes[split] = _draw_split(folder, spec, split, progress)
    for source, copy in _duplicates(spec, labels):
        shutil.copyfile(_image(folder, *source), _image(folder, *copy))
        boxes[copy[0]][copy[1]] = boxes[source[0]][source[1]]
    _save(folder / "devkit" / "cars_train_annos.mat", annotations=_annotations(labels["train"], boxes["train"]))
    _save(folder / "cars_test_annos_withlabels.mat", annotations=_annotations(labels["test"], boxes["test"]))
    names = np.array([[car_model(label).name for label in range(spec.classes)]], dtype=object)
    _save(folder / "devkit" / "cars_meta.mat", class_names=names)
    (folder / SPEC_FILE).write_text(json.dumps(_spec_content(spec)) + "\n", encoding="utf-8")


def _image(folder: Path, split: str, index: int) -> Path:
    return folder / f"cars_{split}" / f"{index + 1:05d}.jpg"


def _draw_split(folder: Path, spec: DrawnCars, split: str, progress: bool) -> tuple[list[int], list[Box]]:
    """Draw the images of a split in shuffled order; return their 0-based labels and their boxes."""
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


def _duplicates(spec: DrawnCars, labels: dict[str, list[int]]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Yield pairs (source, copy) of images that are made byte-identical although their labels differ.

    Stanford Cars contains such duplicates, too. There is one pair within train for each 600 training images (none
    below 600), and as many pairs across the splits, but at least one. An image is (split, index).
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
    """Return the record array of the annotation files: 1-based values in the smallest unsigned integer types."""
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    records = np.empty((1, len(labels)), dtype=[(field, object) for field in fields])
    for index, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        numbers = (np.array(value, dtype=np.min_scalar_type(value)) for value in (*box, label + 1))
        records[0, index] = (*numbers, f"{index + 1:05d}.jpg")
    return records


def _save(path: Path, **variables: Any) -> None:
    """Write a `.mat` file without the date in its header, so that equal variables give equal bytes."""
    buffer = io.BytesIO()
    savemat(buffer, variables)  # type: ignore[arg-type]  # the stubs accept only paths
    path.write_bytes(b"MATLAB 5.0 MAT-file, drawn by carsfg".ljust(116) + buffer.getvalue()[116:])

"""The name of a data set in the layout of Stanford Cars, found by looking at the data."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from carsfg.data.sources.annotations import find_folder
from carsfg.data.sources.source import ImageSource
from carsfg.run_record import DRAWN_CARS, STANFORD_CARS
from carsfg.synthetic.catalogue import SPEC_FILE

# `annotation_digest` of the published annotation files: 196 class names, 8,144 and 8,041 labels
STANFORD_CARS_DIGEST = "98fdaf0d377882f658c7c4f87e445cc5"


def identify(
    root: str | Path,
    class_names: Sequence[str],
    train_labels: npt.ArrayLike,
    test_labels: npt.ArrayLike,
) -> str:
    """Return the name of the data set in a folder.

    Args:
        root: the folder that holds `stanford_cars/`, or `stanford_cars/` itself.
        class_names: names of all classes, in label order.
        train_labels: (N,), 0-based labels of `cars_train`, in the order of the annotations.
        test_labels: (M,), 0-based labels of `cars_test`, in the order of the annotations.

    Returns:
        `Stanford Cars` if class names and labels are the published ones, `drawn cars` if carsfg drew the images, else
        the name of the folder. A folder with one of these two names is called `my Stanford Cars`, `my drawn cars`.

    Raises:
        InputError: the folder holds no data set.
    """
    if annotation_digest(class_names, train_labels, test_labels) == STANFORD_CARS_DIGEST:
        return STANFORD_CARS
    folder = find_folder(root).resolve()
    if (folder / SPEC_FILE).is_file():
        return DRAWN_CARS
    name = folder.parent.name if folder.name == "stanford_cars" else folder.name
    return f"my {name}" if name in (STANFORD_CARS, DRAWN_CARS) else name or "my data"


def annotation_digest(class_names: Sequence[str], train_labels: npt.ArrayLike, test_labels: npt.ArrayLike) -> str:
    """Return the BLAKE2b digest, 32 hexadecimal digits, of class names and labels in their order.

    Args:
        class_names: names of all classes, in label order.
        train_labels: (N,), 0-based.
        test_labels: (M,), 0-based.
    """
    made_of = hashlib.blake2b(digest_size=16)
    made_of.update("\0".join(class_names).encode("utf-8", "surrogateescape"))
    for labels in (train_labels, test_labels):
        values = np.asarray(labels).astype("<i8")
        made_of.update(f"\0{len(values)}\0".encode() + values.tobytes())
    return made_of.hexdigest()


def known_names_only(source: ImageSource, root: str | Path, labels: Sequence[npt.ArrayLike]) -> ImageSource:
    """Return a source without make, body type and year unless it is Stanford Cars or drawn cars.

    Only the class names of these two are known to be made of make, model, body type and year.

    Args:
        source: images in the layout of Stanford Cars, with attributes from the class names.
        root: the folder that holds `stanford_cars/`, or `stanford_cars/` itself.
        labels: 0-based labels of `cars_train` and of `cars_test`, in the order of the annotations.

    Raises:
        InputError: the folder holds no data set.
    """
    is_known = identify(root, source.class_names, *labels) in (STANFORD_CARS, DRAWN_CARS)
    return source if is_known else replace(source, attributes={})

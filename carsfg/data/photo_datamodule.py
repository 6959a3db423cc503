"""PhotoDataModule: photos of one's own, in class folders or named by a table, with splits that do not leak."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from carsfg.data.box_jitter import wide_margin
from carsfg.data.crop_cache import CropCache
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.datamodule import CarsDataModule
from carsfg.data.image_listing import CACHE_FOLDER
from carsfg.data.near_duplicates import near_duplicates
from carsfg.data.photo_splits import (
    DEFAULT_MIN_IMAGES,
    assign_test,
    check_leaks,
    describe_clusters,
    describe_parts,
    given_parts,
    leave_out_small_classes,
)
from carsfg.data.settings import check_at_least
from carsfg.data.sources.any_source import read_photos
from carsfg.data.sources.source import ImageSource
from carsfg.data.sources.table import Columns
from carsfg.data.splits import Rows, cluster
from carsfg.data.unreadable import find_unreadable, unreadable_error, without_unreadable
from carsfg.errors import InputError
from carsfg.run_record import DRAWN_CARS, STANFORD_CARS


class PhotoDataModule(CarsDataModule):
    """Photos in class folders, or named by a table.

    Splits that the folders or the table give are kept. Without a given test split, 20 % of each class are drawn for it
    by `split_seed`; without a given hold-out, 10 % of the rest. If only `train` and `val` are given, `val` is the test
    split, so that test images are not used for model selection. Images of one group, byte-identical files and near
    duplicates (see `near_duplicates`) are never separated by a split that is drawn.

    Args:
        root: folder of class folders (`ROOT/<class>/*.jpg`, `ROOT/{train,val,test}/<class>/*.jpg`), or a table
            (.csv, .parquet, .jsonl) with the columns `path` and `label`; see `read_folders` and `read_table`.
        images: folder that the paths of a table are relative to; by default that of the table.
        columns: names of the table's columns, where they differ, such as `{label: model}`.
        class_level: which folder names the class: 1 for the first one below `root`, 2 for the next.
        crop: cut each image to its box, if the table has boxes.
        margin: fraction of the box that is added on each side.
        min_images: classes with fewer images are left out, and named.
        keep_small_classes: keep the images of those classes in the gallery only; they are never queries.
        skip_unreadable: leave out images that cannot be decoded, and name them; otherwise they are an error.
        allow_leaks: accept given splits that share files or groups; the run record holds their number.
        cache_dir: folder of the decoded images; by default a hidden folder beside the images or the table.
        **kwargs: settings of `carsfg.CarsDataModule`, such as `val`, `augment` and `batch_size`.

    Raises:
        InputError: images or columns are missing or damaged, given splits share images, or a setting does not exist.
    """

    def __init__(
        self,
        root: str,
        images: str | None = None,
        columns: Columns | None = None,
        class_level: int = 1,
        crop: bool = True,
        margin: float = 0.0,
        min_images: int = DEFAULT_MIN_IMAGES,
        keep_small_classes: bool = False,
        skip_unreadable: bool = False,
        allow_leaks: bool = False,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        folder = Path(root) if Path(root).is_dir() else Path(root).parent
        super().__init__(Path(root), cache_dir=cache_dir or str(folder / CACHE_FOLDER), **kwargs)
        if self.protocol == "seed_leaky":
            raise InputError("data.protocol 'seed_leaky' repeats a fault of the paper on Stanford Cars: use 'official'")
        check_at_least(1, {"min_images": min_images})
        self.images, self.columns, self.class_level = images, columns, class_level
        self.crop, self.margin = crop, margin
        self.min_images, self.keep_small_classes, self.allow_leaks = min_images, keep_small_classes, allow_leaks
        self.skip_unreadable = skip_unreadable
        self._read: ImageSource | None = None
        self.leaks = 0

    @property
    def data_name(self) -> str:
        """Name of the folder or table."""
        name = self.root.resolve().stem if self.root.is_file() else self.root.resolve().name
        return f"my {name}" if name in (STANFORD_CARS, DRAWN_CARS) else name or "my photos"

    def read_class_names(self) -> list[str]:
        """Return the names of the classes: those that are learned, then those of gallery items alone."""
        return self._source.class_names

    @property
    def class_names(self) -> list[str]:
        """Names of the classes that are learned, in label order."""
        learned = self.all_class_names[: self._learned]
        return learned[: len(learned) // (2 if self.protocol == "zero_shot" else 1)]

    def open_images(self) -> tuple[ImageSource, list[CropCache]]:
        """Decode all images unless they are decoded already; see `CarsDataModule.open_images`."""
        (dataset,) = self.cropped_images()
        try:
            return self._source, [CropCache.open(dataset, self.stored_size, self.cache_dir)]
        except InputError:  # of the first unreadable image: all of them are looked for, to name them at once
            if found := find_unreadable(self._source):
                raise unreadable_error(self._source, found) from None
            raise

    def cropped_images(self, widened: float = 0.0) -> list[CroppedImages]:
        """Return all images that are used; see `CarsDataModule.cropped_images`.

        Args:
            widened: share of the cut-out's width and height that is added on each of its sides.
        """
        return [CroppedImages(self._source, "photos", self.crop, wide_margin(self.margin, widened))]

    def assign_parts(self, source: ImageSource, caches: list[CropCache]) -> tuple[Sequence[str], Rows | None]:
        """Check given splits, or draw them; see `CarsDataModule.assign_parts`.

        Args:
            source: all images that are used.
            caches: one cache of their decoded squares.

        Raises:
            InputError: given splits share images or groups.
        """
        (cache,) = caches
        labels, pairs = source.labels.numpy(), near_duplicates(cache.cells)
        clusters = cluster(cache.digests, source.groups, pairs)
        if source.parts is None:
            parts = assign_test(labels, cache.digests, clusters, self.split_seed)
            said = describe_clusters(cache.digests, source.groups, pairs, clusters)
        else:
            parts, said = given_parts(source.parts)
            same = cluster(cache.digests, source.groups)
            self.leaks = check_leaks(source, parts, same, self.allow_leaks)
        parts[labels >= self._learned] = "gallery"
        for line in (describe_parts(parts, self._learned), *said, self._small, source.left_out):
            if line:
                rank_zero_info(line)
        return parts.tolist(), clusters

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data of a run, as plain values; see `CarsDataModule.describe`."""
        return super().describe() | {
            "learned_from": "box crops" if self.crop and self.source.boxes is not None else "whole photos",
            "class_level": self.class_level,
            "crop": self.crop and self.source.boxes is not None,
            "margin": self.margin,
            "min_images": self.min_images,
            "keep_small_classes": self.keep_small_classes,
            "allow_leaks": self.allow_leaks,
            "leaks": self.leaks,
        }

    @property
    def _source(self) -> ImageSource:
        """All images that are used, read once; classes that are too small are left out, or the last ones."""
        if self._read is None:
            read = read_photos(self.root, self.images, self.columns, self.class_level)
            read = without_unreadable(read, self.cache_dir) if self.skip_unreadable else read
            self._read, self._learned, self._small = leave_out_small_classes(
                read, self.min_images, self.keep_small_classes
            )
        return self._read

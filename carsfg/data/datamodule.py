"""CarsDataModule: the data of a run. It owns the protocol and the splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from carsfg.class_paths import class_path
from carsfg.data.augmentation import Recipe, describe_recipe, recipe
from carsfg.data.box_jitter import BoxJitter, check_boxes, open_wide, wide_size
from carsfg.data.crop_cache import CropCache
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.settings import Retrieval, check_at_least, check_box_jitter, check_settings, refuse_selection
from carsfg.data.sources.source import ImageSource
from carsfg.data.split_loaders import SplitLoaders
from carsfg.data.splits import Protocol, Rows, Validation, check_splits, split
from carsfg.errors import InputError
from carsfg.hardware import check_batch_size, check_processes

DEFAULT_IMAGE_SIZE = 224  # pixels


class CarsDataModule(SplitLoaders):
    """Base of carsfg's DataModules: decoded images under a stated protocol, with splits and loaders.

    A subclass says where images come from: `read_class_names`, `open_images` and `data_name`.

    Args:
        root: folder or table of the data set.
        image_size: side of the stored and augmented squares in pixels; by default that of the network.
        cache_dir: folder of the decoded images; by default `root/cache`.
        protocol: `official` (both splits as given), `zero_shot` (the first half of the classes trains, the other is
            tested by retrieval alone) or `seed_leaky` (validated on augmented copies of training images).
        val: `holdout` chooses on 10 % of each training class, `test` validates on the test images
            (choosing on them is refused), `none` does not validate.
        retrieval: gallery of a query: the other images of its own split (`closed_loo`), or all training images
            (`closed_train_gallery`), which then come as a second validation and test loader.
        predict: images that `predict` embeds: the `test` split, the `train` split with its hold-out, or `both`.
        augment: recipe for training images: `none`, a name in `carsfg.data.augmentation.RECIPES`, or a mapping of the
            fields of `carsfg.data.augmentation.Recipe`.
        box_jitter: in training, each side of an image's box moves by up to this share of the box's side, 0 to 0.5, so
            that a loose box does less harm; 0 leaves the boxes alone. Needs boxes.
        batch_size: images per process and step.
        sampling: `shuffle` trains on each image once per epoch; `balanced` draws every class about equally often.
        images_per_class: number of images per class in every training batch, for metric-learning losses; None: any.
        num_workers: loader processes; by default none on a CPU, up to 8 with a GPU.
        on_device: keep all images in the memory of the device and cut batches there, without workers; `auto`: if a GPU
            has twice the needed memory free.
        split_seed: seed of the hold-out; keep it to compare runs.

    Raises:
        InputError: settings contradict each other or are out of range.
    """

    def __init__(
        self,
        root: Path,
        image_size: int | None = None,
        cache_dir: str | None = None,
        protocol: Protocol = "official",
        val: Validation = "holdout",
        retrieval: Retrieval = "closed_loo",
        predict: Literal["test", "train", "both"] = "test",
        augment: str | Recipe = "none",
        box_jitter: float = 0.0,
        batch_size: int = 32,
        sampling: Literal["shuffle", "balanced"] = "shuffle",
        images_per_class: int | None = None,
        num_workers: int | None = None,
        on_device: bool | Literal["auto"] = "auto",
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        check_settings(protocol, val, retrieval, image_size)
        check_box_jitter(box_jitter, protocol)
        check_at_least(1, {"batch_size": batch_size, "images_per_class": images_per_class})
        check_at_least(0, {"num_workers": num_workers, "split_seed": split_seed})
        check_processes("data.num_workers", num_workers or 0)
        check_batch_size("data.batch_size", batch_size)
        self.root, self.image_size = root, image_size
        self.protocol: Protocol = protocol
        self.val: Validation = val
        self.retrieval: Retrieval = "zero_shot" if protocol == "zero_shot" else retrieval
        self.batch_size, self.split_seed = batch_size, split_seed
        self.cache_dir = Path(cache_dir) if cache_dir else root / "cache"
        self.predict, self.augment, self.box_jitter = predict, augment, box_jitter
        self.sampling, self.images_per_class = sampling, images_per_class
        self._recipe = recipe(augment)
        self.num_workers, self.on_device = num_workers, on_device
        self._class_names: list[str] | None = None

    @property
    def data_name(self) -> str:
        """Name of the data set in the run record and in tables; known after `setup`."""
        raise NotImplementedError

    def read_class_names(self) -> list[str]:
        """Return the names of all classes in label order, before any image is read."""
        raise NotImplementedError

    def open_images(self) -> tuple[ImageSource, list[CropCache]]:
        """Decode all images unless they are decoded already.

        Returns:
            All images, and caches of their squares of side `stored_size`, which hold them in the same order.
        """
        raise NotImplementedError

    def cropped_images(self, widened: float = 0.0) -> list[CroppedImages]:
        """Return all images before decoding, in the order of `open_images`; only `box_jitter` needs them.

        Args:
            widened: share of the cut-out's width and height that is added on each of its sides.
        """
        raise InputError(f"data.box_jitter needs boxes: {type(self).__name__} gives none")

    def assign_parts(self, source: ImageSource, caches: list[CropCache]) -> tuple[Sequence[str], Rows | None]:
        """Return the part of each image (`train`, `val`, `test`, `gallery`), and numbers of what must stay together.

        Args:
            source: all images.
            caches: their decoded squares.

        Returns:
            The parts (N,), and int64 (N,) clusters as `carsfg.data.splits.cluster` numbers them, None for
            byte-identical files alone.
        """
        if source.parts is None:
            raise InputError(f"{self.root} has no given splits")
        return source.parts, None

    @property
    def all_class_names(self) -> list[str]:
        """Names of all classes in label order, including those that are not learned."""
        if self._class_names is None:
            self._class_names = self.read_class_names()
        return self._class_names

    def use_class_names(self, names: Sequence[str]) -> list[str]:
        """Number the learned classes in another order, such as that of a trained network; call it before `setup`.

        Args:
            names: those of `class_names`, as `same_classes` compares them.

        Returns:
            The names.
        """
        self._class_names = [*names, *self.all_class_names[len(self.class_names) :]]
        return list(names)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes that are learned, in label order."""
        return self.all_class_names[: len(self.all_class_names) // (2 if self.protocol == "zero_shot" else 1)]

    @property
    def stored_size(self) -> int:
        """Side of the stored squares in pixels: `image_size`, or else that of the network in use, or else 224.

        Raises:
            InputError: it is below the size of the network's input, so that images would be enlarged.
        """
        task = self.trainer.lightning_module if self.trainer else None
        wanted = int(task.hparams.get("image_size", 0)) if task is not None else 0
        if self.image_size is not None and self.image_size < wanted:
            raise InputError(
                f"data.image_size {self.image_size} is below model.image_size {wanted}: images would be enlarged; "
                "leave data.image_size out, then it follows the network"
            )
        return self.image_size or wanted or DEFAULT_IMAGE_SIZE

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data of a run, as plain values, once `setup` is done.

        Folders, workers and the place of the images in memory are left out, since they do not change the result.
        """
        return {
            "class_path": class_path(type(self)),
            "name": self.data_name,
            "classes": len(self.class_names),
            "train_images": len(np.unique(self.splits.train % len(self.labels))),
            "test_images": len(self.splits.test),
            "split_hash": self.split_hash,
            "protocol": self.protocol,
            "val": self.val,
            "retrieval": self.retrieval,
            "image_size": self.stored_size,
            "augment": describe_recipe(self.augment),
            "batch_size": self.batch_size,
            "sampling": self.sampling,
            "images_per_class": self.images_per_class,
            "split_seed": self.split_seed,
            **({"box_jitter": self.box_jitter} if self.box_jitter else {}),  # older runs have no such key
        }

    @property
    def head_is_scored(self) -> bool:
        """Whether the test images' classes are among those learned, so that logits can be scored."""
        return self.protocol != "zero_shot"

    def prepare_data(self) -> None:
        """Decode all images once, and a second time for boxes that move."""
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if self.box_jitter and fitting:
            check_boxes(self.cropped_images())  # before minutes of decoding
        self.open_images()
        if self.box_jitter and fitting:
            self._open_wide(self.cropped_images(self.box_jitter))

    def _open_wide(self, wide: list[CroppedImages]) -> list[CropCache]:
        return open_wide(wide, wide_size(self.stored_size, self.box_jitter), self.cache_dir)

    def setup(self, stage: str) -> None:
        """Open the decoded images and compute the splits.

        Raises:
            InputError: something would be selected on the test split, or there is nothing to validate on.
        """
        if stage == "validate" and self.val == "none":
            raise InputError("data.val is 'none', so there is nothing to validate on: set data.val: holdout or test")
        if stage == "fit":
            refuse_selection(getattr(self.trainer, "callbacks", []), self.val, self.protocol)
        if self._splits is None:
            source, self.caches = self.open_images()
            self.source = source if self._class_names is None else source.with_class_names(self._class_names)
            self.paths, self.labels = source.paths, self.source.labels.numpy()
            self.digests = [digest for cache in self.caches for digest in cache.digests]
            parts, clusters = self.assign_parts(self.source, self.caches)
            self.parts = np.array(parts)
            self._grouping = (self.digests, self.parts, self.split_seed, clusters)
            self._splits = split(self.protocol, self.val, self.labels, *self._grouping)
            self.split_hash = self._splits.hash(self.digests, self.labels)
            world = self.trainer.world_size if self.trainer else 1
            if line := check_splits(self._splits, self.labels, self.class_names, world):
                rank_zero_info(line)
        if stage == "fit" and self.box_jitter and self._jitter is None:
            exact, wide = self.cropped_images(), self.cropped_images(self.box_jitter)
            self._jitter = BoxJitter.of(self.box_jitter, self.stored_size, exact, wide)
            self.wide_caches = self._open_wide(wide)

    @property
    def class_attributes(self) -> dict[str, list[str]]:
        """Attributes that are equal for all images of each learned class, such as `make`: a value per class, by name.

        Known after `setup`.
        """
        found: dict[str, list[str]] = {}
        for name, values in self.source.attributes.items():
            of_class: dict[int, set[str]] = {label: set() for label in range(len(self.class_names))}
            for label, value in zip(self.labels.tolist(), values, strict=True):
                of_class.setdefault(label, set()).add(value)
            learned = [of_class[label] for label in range(len(self.class_names))]
            if all(len(one) == 1 for one in learned):
                found[name] = [next(iter(one)) for one in learned]
        return found

    @property
    def held_out(self) -> npt.NDArray[np.bool_]:
        """Which of the pooled images are the hold-out of `official`, whatever protocol and `val` are; bool (N,)."""
        held = split("official", "holdout", self.labels, *self._grouping).val
        return np.isin(np.arange(len(self.labels)), [] if held is None else held)

    @property
    def train_class_counts(self) -> Rows:
        """Number of images of each learned class in the training split, int64 (C,)."""
        learned = self.labels[self.splits.train % len(self.labels)]
        return np.bincount(learned, minlength=len(self.class_names)).astype(np.int64)

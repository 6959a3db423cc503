"""CarsDataModule: the data of a run. It owns the protocol, the splits and the loaders."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from carsfg.class_paths import class_path
from carsfg.data.augmentation import Recipe, describe_recipe, recipe
from carsfg.data.batches import Batch, CropSamples, FeatureSamples, as_it_is
from carsfg.data.crop_cache import CropCache
from carsfg.data.gpu_loader import ResidentLoader, fits, upload
from carsfg.data.sampler import EpochSampler
from carsfg.data.settings import Retrieval, check_at_least, check_settings, refuse_selection
from carsfg.data.sources.identity import identify
from carsfg.data.splits import Protocol, Rows, Splits, Validation, check_splits, split
from carsfg.errors import InputError
from carsfg.hardware import check_processes
from carsfg.seeding import global_seed

Loader = DataLoader[Batch] | ResidentLoader
DEFAULT_IMAGE_SIZE = 224  # pixels


class CarsDataModule(LightningDataModule):
    """Base of carsfg's DataModules: decoded images under a stated protocol, with loaders and splits.

    A subclass says where images come from: `all_class_names` and `open_caches`.

    Args:
        root: folder of the data set.
        image_size: side of the stored and augmented squares in pixels; by default that of the network.
        cache_dir: folder of the decoded images; by default `root/cache`.
        protocol: `official` (both splits as given), `zero_shot` (the first half of the classes trains, the other is
            tested by retrieval alone) or `seed_leaky` (validated on augmented copies of training images).
        val: `holdout` chooses on 10 % of each training class, `test` draws validation curves on the test images
            (choosing on them is refused), `none` does not validate.
        retrieval: gallery of a query: the other images of its own split (`closed_loo`), or all training images
            (`closed_train_gallery`), which then come as a second validation and test loader.
        predict: images that `predict` embeds: the `test` or the `train` folder, or `both`.
        augment: recipe for training images: `none`, a name in `carsfg.data.augmentation.RECIPES`, or a mapping of the
            fields of `carsfg.data.augmentation.Recipe`.
        batch_size: images per process and step.
        images_per_class: number of images per class in every training batch, for metric-learning losses; None: shuffle.
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
        batch_size: int = 32,
        images_per_class: int | None = None,
        num_workers: int | None = None,
        on_device: bool | Literal["auto"] = "auto",
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        check_settings(protocol, val, retrieval, image_size)
        check_at_least(1, {"batch_size": batch_size, "images_per_class": images_per_class})
        check_at_least(0, {"num_workers": num_workers, "split_seed": split_seed})
        check_processes("data.num_workers", num_workers or 0)
        self.root, self.image_size = root, image_size
        self.protocol: Protocol = protocol
        self.val: Validation = val
        self.retrieval: Retrieval = "zero_shot" if protocol == "zero_shot" else retrieval
        self.batch_size, self.num_workers, self.split_seed = batch_size, num_workers, split_seed
        self.cache_dir = Path(cache_dir) if cache_dir else root / "cache"
        self.predict, self.augment = predict, augment
        self.images_per_class = images_per_class
        self._recipe = recipe(augment)
        self.on_device = on_device
        self._images: Tensor | None = None
        self._splits: Splits | None = None
        self.features: Tensor | None = None  # of all pooled images (N, D), once a frozen backbone's output is known

    @property
    def all_class_names(self) -> list[str]:
        """Names of all classes in label order, including those that a zero-shot protocol only tests."""
        raise NotImplementedError

    def open_caches(self) -> tuple[list[Path], Tensor, list[CropCache]]:
        """Decode all images unless they are decoded already.

        Returns:
            The image files, their labels (N,), and two caches of their squares of side `stored_size`: of the training
            images, and of the test images.
        """
        raise NotImplementedError

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
        first = len(self.caches[0])
        labels = (self.labels[:first], self.labels[first:])
        return {
            "class_path": class_path(type(self)),
            "name": identify(self.root, self.all_class_names, *labels),
            "classes": len(self.all_class_names),
            "train_images": len(np.unique(self.splits.train % len(self.labels))),
            "test_images": len(self.splits.test),
            "split_hash": self.split_hash,
            "protocol": self.protocol,
            "val": self.val,
            "retrieval": self.retrieval,
            "image_size": self.stored_size,
            "augment": describe_recipe(self.augment),
            "batch_size": self.batch_size,
            "images_per_class": self.images_per_class,
            "split_seed": self.split_seed,
        }

    @property
    def head_is_scored(self) -> bool:
        """Whether the test images' classes are among those learned, so that logits can be scored."""
        return self.protocol != "zero_shot"

    @property
    def splits(self) -> Splits:
        """The rows of each split; known after `setup`."""
        if self._splits is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._splits

    def prepare_data(self) -> None:
        """Decode all images once."""
        self.open_caches()

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
            self.paths, labels, self.caches = self.open_caches()
            self.labels: Rows = labels.numpy()
            digests = [digest for cache in self.caches for digest in cache.digests]
            arguments = (self.protocol, self.val, self.labels, digests, len(self.caches[0]), self.split_seed)
            self._splits = split(*arguments)
            self.split_hash = self._splits.hash(digests)
            world = self.trainer.world_size if self.trainer else 1
            if line := check_splits(self._splits, self.labels, self.class_names, world):
                rank_zero_info(line)

    def train_dataloader(self) -> Loader:
        """Return shuffled, augmented batches of the training split."""
        sampler_epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader(self.splits.train, augmented=True, shuffled_for=sampler_epoch)

    def val_dataloader(self) -> list[Loader]:
        """Return batches to validate on, then those of the training split if it is the gallery."""
        if self.splits.val is None:
            return []
        leaky = self.protocol == "seed_leaky"
        return [self._loader(self.splits.val, augmented=leaky), *self._gallery("val")]

    def test_dataloader(self) -> list[Loader]:
        """Return batches to test on, then those of all of `cars_train` if it is the gallery."""
        return [self._loader(self.splits.test), *self._gallery("test")]

    def predict_dataloader(self) -> Loader:
        """Return batches of `predicted_rows`."""
        return self._loader(self.predicted_rows)

    @property
    def predicted_rows(self) -> Rows:
        """The rows of both folders, pooled, that `predict` embeds."""
        rows, first = np.arange(len(self.labels)), len(self.caches[0])
        return {"train": rows[:first], "test": rows[first:], "both": rows}[self.predict]

    def every_image_dataloader(self) -> Loader:
        """Return batches of all images of both folders in order; every process gets all of them."""
        samples = CropSamples(self.caches, self.labels, np.arange(len(self.labels)))
        return self._load(samples, EpochSampler(samples, shuffle=False))

    def crops(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the unaugmented crops (B, S, S, 3) of rows of `splits`; a stored copy gives its original.

        They are read from the cache even if the loaders return images on a device or features of a frozen backbone.

        Args:
            rows: int64 (B,).
        """
        return CropSamples(self.caches, self.labels, rows).pixels(np.arange(len(rows)))

    def gallery_rows(self, split: Literal["val", "test"]) -> Rows | None:
        """Return the gallery's rows for the queries of a split, each image once; None: the split itself.

        Test images are searched in all of `cars_train`, hold-out images in the training split.

        Args:
            split: `val` or `test`, whose images are the queries.
        """
        if self.retrieval != "closed_train_gallery":
            return None
        return np.arange(len(self.caches[0])) if split == "test" else np.unique(self.splits.train % len(self.labels))

    def _gallery(self, split: Literal["val", "test"]) -> list[Loader]:
        rows = self.gallery_rows(split)
        return [] if rows is None else [self._loader(rows)]

    def _loader(self, rows: Rows, augmented: bool = False, shuffled_for: int | None = None) -> Loader:
        """Load rows in order, or shuffled from epoch `shuffled_for` on."""
        samples: CropSamples | FeatureSamples
        if self.features is not None:
            samples = FeatureSamples(self.features, self.labels, rows)
        else:
            recipe, stored = self._recipe if augmented else None, self.protocol == "seed_leaky"
            samples = CropSamples(self.caches, self.labels, rows, recipe, stored)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        train = shuffled_for is not None
        balanced = None
        if train and self.images_per_class is not None:
            balanced = (samples.labels, self.images_per_class, self.batch_size)
        sampler = EpochSampler(samples, train, global_seed(), rank, world, balanced)
        sampler.set_epoch(shuffled_for or 0)  # here, because workers prefetch before Lightning sets it
        return self._load(samples, sampler, train and len(sampler) % self.batch_size == 1)

    def _load(self, samples: CropSamples | FeatureSamples, sampler: EpochSampler, drop_last: bool = False) -> Loader:
        """Load batches; an incomplete last one of a single image, which BatchNorm cannot learn from, may be dropped."""
        if isinstance(samples, CropSamples) and (images := self._resident_images()) is not None:
            return ResidentLoader(images, samples, self.batch_size, sampler, drop_last)
        workers = self._workers() if isinstance(samples, CropSamples) else 0
        return DataLoader(
            samples,
            batch_size=self.batch_size,  # by name: Lightning rebuilds loaders for predict
            sampler=sampler,
            collate_fn=as_it_is,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=self._device.type == "cuda",
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # otherwise iterators draw from torch's random state, and a resume differs
        )

    def _resident_images(self) -> Tensor | None:
        """Return all images on the device of this process, or None; a second `fits` would count them as used memory."""
        device = self._device
        if getattr(self.trainer, "overfit_batches", 0):  # Lightning can only cut DataLoaders down
            return None
        if self._images is None or self._images.device != device:
            wanted = device.type == "cuda" and fits(self.caches, device) if self.on_device == "auto" else self.on_device
            self._images = upload(self.caches, device) if wanted else None
        return self._images

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        return min(8, torch.get_num_threads()) if self._device.type == "cuda" else 0

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

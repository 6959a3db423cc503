"""The loaders of a DataModule: batches of each split, of the gallery and of all images."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from torch import Tensor

from carsfg.data.augmentation import Recipe
from carsfg.data.batches import CropSamples, FeatureSamples
from carsfg.data.box_jitter import BoxJitter
from carsfg.data.crop_cache import CropCache
from carsfg.data.loaders import Loader, LoaderFactory
from carsfg.data.sampler import EpochSampler
from carsfg.data.sources.source import ImageSource
from carsfg.data.splits import Protocol, Rows, Splits
from carsfg.seeding import global_seed


class SplitLoaders(LightningDataModule):
    """Base of `CarsDataModule` that makes the loaders of its splits.

    Attributes:
        source: all pooled images; known after `setup`.
        caches: the decoded squares of all pooled images, in their order; known after `setup`.
        wide_caches: the same images with more around their boxes, to train on while the boxes move; empty without
            `box_jitter`, and before `setup` for `fit`.
        labels: int64 (N,), 0-based, of all pooled images; known after `setup`.
        parts: (N,), the part of each pooled image: `train`, `val`, `test` or `gallery`; known after `setup`.
        features: of all pooled images (N, D), once the output of a frozen backbone is known.
    """

    source: ImageSource
    caches: list[CropCache]
    labels: Rows
    parts: npt.NDArray[np.str_]
    batch_size: int
    sampling: Literal["shuffle", "balanced"]
    images_per_class: int | None
    num_workers: int | None
    on_device: bool | Literal["auto"]
    predict: Literal["test", "train", "both"]
    protocol: Protocol
    retrieval: str
    _recipe: Recipe | None

    def __init__(self) -> None:
        super().__init__()
        self.features: Tensor | None = None
        self._splits: Splits | None = None
        self._factory: LoaderFactory | None = None
        self.wide_caches: list[CropCache] = []
        self._jitter: BoxJitter | None = None

    @property
    def splits(self) -> Splits:
        """The rows of each split; known after `setup`."""
        if self._splits is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._splits

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
        """Return batches to test on, then those of all training images if they are the gallery."""
        return [self._loader(self.splits.test), *self._gallery("test")]

    def predict_dataloader(self) -> Loader:
        """Return batches of `predicted_rows`."""
        return self._loader(self.predicted_rows)

    @property
    def predicted_rows(self) -> Rows:
        """The pooled rows that `predict` embeds."""
        is_test = self.parts == "test"
        return np.flatnonzero({"train": ~is_test, "test": is_test, "both": is_test | True}[self.predict])

    def every_image_dataloader(self) -> Loader:
        """Return batches of all images in order; every process gets all of them."""
        samples = CropSamples(self.caches, self.labels, np.arange(len(self.labels)))
        return self._load(samples, EpochSampler(samples, shuffle=False))

    def crops(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the unaugmented crops (B, S, S, 3) of rows of `splits`; a stored copy gives its original.

        They are read from the cache even if the loaders return images on a device or features of a frozen backbone.

        Args:
            rows: int64 (B,).
        """
        return CropSamples(self.caches, self.labels, rows).pixels(np.arange(len(rows)))

    def image_name(self, row: int) -> str:
        """Return the path of a pooled image below the data's root, or its whole path if it lies elsewhere.

        Args:
            row: position among the pooled images.
        """
        return self.source.name(row)

    def gallery_rows(self, split: Literal["val", "test"]) -> Rows | None:
        """Return the gallery's rows for the queries of a split, each image once; None: the split itself.

        Test images are searched in all other images, hold-out images in the training split.

        Args:
            split: `val` or `test`, whose images are the queries.
        """
        if self.retrieval != "closed_train_gallery":
            return None
        if split == "test":
            return np.flatnonzero(self.parts != "test")
        learned = np.unique(self.splits.train % len(self.labels))
        return np.concatenate([learned, np.flatnonzero(self.parts == "gallery")])

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
            jitter = self._jitter if augmented else None
            caches = self.caches if jitter is None else self.wide_caches
            samples = CropSamples(caches, self.labels, rows, recipe, stored, jitter)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        train = shuffled_for is not None
        balanced = None
        if train and self.images_per_class is not None:
            balanced = (samples.labels, self.images_per_class, self.batch_size)
        class_balanced = samples.labels if self.sampling == "balanced" else None
        done = self._count_done if train else None
        sampler = EpochSampler(samples, train, global_seed(), rank, world, balanced, class_balanced, done)
        sampler.set_epoch(shuffled_for or 0)  # here, because workers prefetch before Lightning sets it
        return self._load(samples, sampler, train and len(sampler) % self.batch_size == 1)

    def _count_done(self) -> int:
        """Return the number of images of this process that were trained on before its epoch was interrupted."""
        trainer = self.trainer
        if trainer is None or not trainer.training or not trainer.fit_loop.is_resuming:
            return 0
        return (trainer.fit_loop.batch_idx + 1) * self.batch_size

    def _load(self, samples: CropSamples | FeatureSamples, sampler: EpochSampler, drop_last: bool = False) -> Loader:
        """Load batches; an incomplete last one of a single image, which BatchNorm cannot learn from, may be dropped."""
        if self._factory is None:
            self._factory = LoaderFactory(self.batch_size, self.num_workers, self.on_device)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        # Lightning can only cut DataLoaders down
        may_stay = not getattr(self.trainer, "overfit_batches", 0)
        return self._factory.make(samples, sampler, device, drop_last, may_stay)

"""The data of a run: it owns the protocol, the splits and the loaders."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningDataModule
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader

from carsfg.data.augmentation import recipe_named
from carsfg.data.batches import Batch, CropSamples, FeatureSamples, as_it_is
from carsfg.data.crop_cache import CropCache
from carsfg.data.gpu_loader import ResidentLoader, fits, upload
from carsfg.data.sampler import EpochSampler
from carsfg.data.sources.annotations import find_folder, read_class_names
from carsfg.data.sources.stanford_cars import StanfordCars
from carsfg.data.splits import Protocol, Rows, Splits, Validation, split
from carsfg.errors import InputError
from carsfg.seeding import global_seed
from carsfg.synthetic.dataset import DrawnCars, draw_cars

Retrieval = Literal["closed_loo", "closed_train_gallery"]
Loader = DataLoader[Batch] | ResidentLoader


class StanfordCarsDataModule(LightningDataModule):
    """Crops of Stanford Cars, or of drawn cars, under a stated protocol.

    Args:
        root: the folder that holds `stanford_cars/`.
        drawn: draw cars under `root/drawn_cars/` and use those, instead of `root/stanford_cars/`.
        crop: cut each image to its annotated box; `false` for images that are crops already.
        margin: fraction of the box added on each side.
        image_size: side of the stored and augmented squares, in pixels; the task resizes to its own size.
        cache_dir: where decoded crops are kept; by default `root/cache`.
        protocol: `official` (8,144 train, 8,041 test), `zero_shot` (the first half of the classes trains, the other
            is tested by retrieval alone) or `seed_leaky` (the report's third CNN: validated on copies of train).
        val: choose on a `holdout` of train (10 % of each class), draw the curves on `test` (selection is then refused),
            or `none`.
        retrieval: what a query is searched in: the other images of its own split (`closed_loo`), or all of train
            (`closed_train_gallery`), which then comes as a second validation and test loader.
        predict: which images `predict` embeds: the `test` or `train` folder, or `both`.
        augment: the recipe for training images, `none` or one of `carsfg.data.augmentation.RECIPES`.
        batch_size: images a process and step.
        images_per_class: fill every training batch with so many images of each of its classes, as metric-learning
            losses want it (extra `metric`); None: shuffle.
        num_workers: loader processes; by default none on CPU, up to 8 beside a GPU.
        on_device: keep all crops in the device's memory and cut batches there, without any worker; `auto`: on a GPU
            with twice the room.
        split_seed: of the hold-out; leave it, so that runs can be compared.

    Raises:
        InputError: data is missing or damaged, or a setting does not exist.
    """

    def __init__(
        self,
        root: str = "data",
        drawn: DrawnCars | None = None,
        crop: bool = True,
        margin: float = 0.0,
        image_size: int = 224,
        cache_dir: str | None = None,
        protocol: Protocol = "official",
        val: Validation = "holdout",
        retrieval: Retrieval = "closed_loo",
        predict: Literal["test", "train", "both"] = "test",
        augment: str = "none",
        batch_size: int = 32,
        images_per_class: int | None = None,
        num_workers: int | None = None,
        on_device: bool | Literal["auto"] = "auto",
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        if protocol == "zero_shot" and retrieval != "closed_loo":
            raise InputError("protocol zero_shot searches the test classes among themselves: leave data.retrieval out")
        if protocol == "seed_leaky" and val != "holdout":
            raise InputError("protocol seed_leaky validates on copies of training images: set data.val: holdout")
        if min(batch_size, image_size) < 1 or (num_workers or 0) < 0:
            raise InputError(
                f"data.batch_size {batch_size} and data.image_size {image_size} must be 1 or more, "
                f"data.num_workers {num_workers} 0 or more"
            )
        self.drawn, self.crop, self.margin, self.image_size = drawn, crop, margin, image_size
        self.protocol: Protocol = protocol
        self.val: Validation = val
        self.retrieval = "zero_shot" if protocol == "zero_shot" else retrieval
        self.batch_size, self.num_workers, self.split_seed = batch_size, num_workers, split_seed
        self.root = Path(root) if drawn is None else Path(root) / "drawn_cars" / _folder_name(drawn)
        self.cache_dir = Path(cache_dir) if cache_dir else self.root / "cache"
        self.predict, self.augment = predict, augment
        self.images_per_class = images_per_class
        self._recipe = recipe_named(augment)
        self.on_device = on_device
        self._images: Tensor | None = None
        self._splits: Splits | None = None
        self.features: Tensor | None = None  # of all pooled images (N, D), once a frozen backbone's output is known

    @property
    def class_names(self) -> list[str]:
        """Names of the classes that are learned, in label order; drawn cars are drawn when this is first asked."""
        names = self.all_class_names
        return names[: len(names) // 2] if self.protocol == "zero_shot" else names

    @property
    def all_class_names(self) -> list[str]:
        """Names of all classes, in label order, those among them that a zero-shot protocol only tests."""
        if self.drawn is not None:
            draw_cars(self.root, self.drawn)
        return read_class_names(find_folder(self.root))

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
        """Draw cars if asked to, and decode all crops once."""
        _ = self.class_names
        self._open_caches()

    def setup(self, stage: str) -> None:
        """Lay out the splits.

        Raises:
            InputError: something would be selected on the test split, or there is nothing to validate on.
        """
        if stage == "validate" and self.val == "none":
            raise InputError("data.val is 'none', so there is nothing to validate on: set data.val: holdout or test")
        if stage == "fit":
            self._refuse_selection()
        if self._splits is None:
            datasets, self.caches = self._open_caches()
            self.paths = [path for dataset in datasets for path in dataset.paths]
            self.labels: Rows = np.concatenate([dataset.labels.numpy() for dataset in datasets])
            digests = [digest for cache in self.caches for digest in cache.digests]
            arguments = (self.protocol, self.val, self.labels, digests, len(self.caches[0]), self.split_seed)
            self._splits = split(*arguments)
            self.split_hash = self._splits.hash(digests)

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
        """Return batches of both folders pooled, in order, on every process alike."""
        samples = CropSamples(self.caches, self.labels, np.arange(len(self.labels)))
        return self._load(samples, EpochSampler(samples, shuffle=False))

    def crops(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the crops (B, S, S, 3) of rows as `splits` has them, not augmented: of a stored copy, the original.

        They come from the decoded crops, whatever the loaders give: images on a device, or a frozen backbone's output.

        Args:
            rows: int64 (B,).
        """
        return CropSamples(self.caches, self.labels, rows).pixels(np.arange(len(rows)))

    def gallery_rows(self, split: Literal["val", "test"]) -> Rows | None:
        """The rows that images of a split are searched in, each image once; None: the split itself.

        Test images are searched in all of `cars_train`, those of the hold-out in what was learned from.

        Args:
            split: `val` or `test`, whose images are the queries.
        """
        if self.retrieval != "closed_train_gallery":
            return None
        return np.arange(len(self.caches[0])) if split == "test" else np.unique(self.splits.train % len(self.labels))

    def _gallery(self, split: Literal["val", "test"]) -> list[Loader]:
        rows = self.gallery_rows(split)
        return [] if rows is None else [self._loader(rows)]

    def _open_caches(self) -> tuple[list[StanfordCars], list[CropCache]]:
        datasets = [StanfordCars(self.root, name, self.crop, self.margin) for name in ("train", "test")]
        return datasets, [CropCache.open(dataset, self.image_size, self.cache_dir) for dataset in datasets]

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
            batch_size=self.batch_size,  # by name, for Lightning rebuilds loaders to predict
            sampler=sampler,
            collate_fn=as_it_is,
            num_workers=workers,
            drop_last=drop_last,
            pin_memory=self._device.type == "cuda",
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else each new iterator draws from torch's random state, and a resume differs
        )

    def _resident_images(self) -> Tensor | None:
        """Return all crops on this process's device, if they are to live there; they are uploaded once.

        Once there they stay: asked again, `fits` would hold them, and the network beside them, against themselves.
        """
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

    def _refuse_selection(self) -> None:
        """Refuse to choose on what must not choose, or on what will not be there."""
        reasons = {
            "test": "choosing on test images is refused",
            "none": "there will be nothing to choose on",
            "holdout": "choosing on copies of training images is refused" if self.protocol == "seed_leaky" else "",
        }
        for callback in getattr(self.trainer, "callbacks", []):
            monitor = getattr(callback, "monitor", None) if isinstance(callback, EarlyStopping | Checkpoint) else None
            if monitor and reasons[self.val] and not (self.val == "none" and str(monitor).startswith("train/")):
                raise InputError(
                    f"{type(callback).__name__} monitors {monitor!r}, but data.val is {self.val!r}, data.protocol "
                    f"{self.protocol!r}: {reasons[self.val]}; keep the last epoch (monitor: null)"
                )


def _folder_name(spec: DrawnCars) -> str:
    return f"{spec.classes}-classes-{spec.train}-train-{spec.test}-test-seed-{spec.seed}"

"""StanfordCarsDataModule: the images of Stanford Cars, or drawn cars, as a DataModule."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from carsfg.data.augmentation import Recipe
from carsfg.data.crop_cache import CropCache
from carsfg.data.datamodule import CarsDataModule, Retrieval
from carsfg.data.sources.annotations import find_folder, read_class_names
from carsfg.data.sources.stanford_cars import StanfordCars
from carsfg.data.splits import Protocol, Validation
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.dataset import DrawnCars, draw_cars


class StanfordCarsDataModule(CarsDataModule):
    """Images of Stanford Cars, or drawn cars, under a stated protocol.

    Args:
        root: folder that contains `stanford_cars/`.
        drawn: draw cars into `root/drawn_cars/` and use them instead of `root/stanford_cars/`.
        crop: cut each image to its annotated box; `false` for images that are box crops already.
        margin: fraction of the box that is added on each side.
        image_size: side of the stored and augmented squares in pixels; by default that of the network.
        cache_dir: folder of the decoded images; by default `root/cache`.
        protocol: `official` (8,144 train, 8,041 test images), `zero_shot` (the first half of the classes trains, the
            other half is tested by retrieval alone) or `seed_leaky` (the paper's third CNN: validated on augmented
            copies of training images).
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
        on_device: keep all images in the memory of the device and cut batches there, without workers; `auto`: on a GPU
            with twice the room.
        split_seed: seed of the hold-out; keep it to compare runs.

    Raises:
        InputError: data is missing or damaged, or a setting does not exist.
    """

    def __init__(
        self,
        root: str = "data",
        drawn: DrawnCars | None = None,
        crop: bool = True,
        margin: float = 0.0,
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
        super().__init__(
            Path(root) if drawn is None else Path(root) / "drawn_cars" / _folder_name(drawn),
            image_size=image_size,
            cache_dir=cache_dir,
            protocol=protocol,
            val=val,
            retrieval=retrieval,
            predict=predict,
            augment=augment,
            batch_size=batch_size,
            images_per_class=images_per_class,
            num_workers=num_workers,
            on_device=on_device,
            split_seed=split_seed,
        )
        self.drawn, self.crop, self.margin = drawn, crop, margin
        self._names: list[str] | None = None

    @property
    def all_class_names(self) -> list[str]:
        """Names of all classes in label order, including those that a zero-shot protocol only tests."""
        if self._names is None:
            if self.drawn is not None:  # known without drawing, which is the first process's work
                self._names = [car_model(label).name for label in range(self.drawn.classes)]
            else:
                self._names = read_class_names(find_folder(self.root))
        return self._names

    def prepare_data(self) -> None:
        """Draw cars if asked to, and decode all images once."""
        if self.drawn is not None:
            draw_cars(self.root, self.drawn)
        super().prepare_data()

    def open_caches(self) -> tuple[list[Path], torch.Tensor, list[CropCache]]:
        """Open the train and test folders; see `CarsDataModule.open_caches`."""
        datasets = [StanfordCars(self.root, name, self.crop, self.margin) for name in ("train", "test")]
        caches = [CropCache.open(dataset, self.stored_size, self.cache_dir) for dataset in datasets]
        paths = [path for dataset in datasets for path in dataset.paths]
        return paths, torch.cat([dataset.labels for dataset in datasets]), caches

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data of a run, as plain values; see `CarsDataModule.describe`."""
        drawn = asdict(self.drawn) if self.drawn else None
        return super().describe() | {"drawn": drawn, "crop": self.crop, "margin": self.margin}


def _folder_name(spec: DrawnCars) -> str:
    return f"{spec.classes}-classes-{spec.train}-train-{spec.test}-test-seed-{spec.seed}"

"""StanfordCarsDataModule: the images of Stanford Cars, or drawn cars, as a DataModule."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from carsfg.data.box_jitter import wide_margin
from carsfg.data.crop_cache import CropCache, open_caches
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.datamodule import CarsDataModule
from carsfg.data.sources.annotations import find_folder, read_class_names
from carsfg.data.sources.identity import identify, known_names_only
from carsfg.data.sources.source import ImageSource, pool
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.dataset import DrawnCars, draw_cars


class StanfordCarsDataModule(CarsDataModule):
    """Images of Stanford Cars, or drawn cars, under a stated protocol.

    Args:
        root: folder that contains `stanford_cars/`.
        drawn: draw cars into `root/drawn_cars/` and use them instead of `root/stanford_cars/`.
        crop: cut each image to its annotated box; `false` for images that are box crops already.
        margin: fraction of the box that is added on each side.
        **kwargs: settings of `carsfg.CarsDataModule`, such as `protocol`, `val`, `augment` and `batch_size`.

    Raises:
        InputError: data is missing or damaged, or a setting does not exist.
    """

    def __init__(
        self,
        root: str = "data",
        drawn: DrawnCars | None = None,
        crop: bool = True,
        margin: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(Path(root) if drawn is None else Path(root) / "drawn_cars" / _folder_name(drawn), **kwargs)
        self.drawn, self.crop, self.margin = drawn, crop, margin

    @property
    def data_name(self) -> str:
        """`Stanford Cars`, `drawn cars`, or the name of the folder; see `identify`."""
        labels = [self.labels[self.parts == part] for part in ("train", "test")]
        return identify(self.root, self.all_class_names, *labels)

    def read_class_names(self) -> list[str]:
        """Read the names of all classes in label order; those of drawn cars are known without drawing."""
        if self.drawn is not None:  # only the first process draws
            return [car_model(label).name for label in range(self.drawn.classes)]
        return read_class_names(find_folder(self.root))

    def prepare_data(self) -> None:
        """Draw cars if asked to, and decode all images once."""
        if self.drawn is not None:
            draw_cars(self.root, self.drawn)
        super().prepare_data()

    def open_images(self) -> tuple[ImageSource, list[CropCache]]:
        """Open the train and test folders; see `CarsDataModule.open_images`."""
        datasets = self.cropped_images()
        caches = open_caches(datasets, self.stored_size, self.cache_dir)
        source = pool([dataset.source for dataset in datasets])
        return known_names_only(source, self.root, [dataset.labels for dataset in datasets]), caches

    def cropped_images(self, widened: float = 0.0) -> list[CroppedImages]:
        """Return the train and test folders; see `CarsDataModule.cropped_images`.

        Args:
            widened: share of the cut-out's width and height that is added on each of its sides.
        """
        margin = wide_margin(self.margin, widened)
        return [StanfordCars(self.root, name, self.crop, margin) for name in ("train", "test")]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the data of a run, as plain values; see `CarsDataModule.describe`."""
        drawn = asdict(self.drawn) if self.drawn else None
        whole = not self.crop and self.drawn is not None  # real images that are not cut are crops already
        learned_from = "whole photos" if whole else "box crops"
        described = super().describe() | {"drawn": drawn, "crop": self.crop, "margin": self.margin}
        return described | {"learned_from": learned_from}


def _folder_name(spec: DrawnCars) -> str:
    return f"{spec.classes}-classes-{spec.train}-train-{spec.test}-test-seed-{spec.seed}"

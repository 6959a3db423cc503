"""Whether the images of a data set are whole photos or crops, by their sizes."""

import shutil
from pathlib import Path

from carsfg.data.crop_check import holds_crops
from carsfg.data.stanford_cars_dataset import StanfordCars


def test_drawn_scenes_and_their_crops(drawn_root: Path, tmp_path: Path) -> None:
    (folder,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0/stanford_cars")
    scenes = StanfordCars(folder, "test", crop=False)
    assert not holds_crops(scenes)
    crops = StanfordCars(folder, "test")
    copied = Path(shutil.copytree(folder, tmp_path / "stanford_cars"))
    for index, path in enumerate(crops.paths):
        crops.load(index).save(copied / "cars_test" / path.name)
    assert holds_crops(StanfordCars(copied, "test", crop=False))

"""GalleryWriter: which DataModules it takes, and what its gallery keeps."""

from pathlib import Path

import pytest
from lightning import LightningDataModule

from carsfg.callbacks.gallery_writer import GalleryWriter
from carsfg.cli import main
from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.errors import InputError
from carsfg.files import checksum
from carsfg.search.gallery import Gallery
from tests.conftest import MakeCars, MakeTask, MakeTrainer
from tests.data.test_photo_datamodule import noise


def test_a_foreign_data_module_is_refused_before_anything_is_predicted(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    class Mine(LightningDataModule):
        pass

    writer, trainer = GalleryWriter(), make_trainer()
    trainer.datamodule = Mine()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"'Mine': predict needs a subclass of carsfg\.CarsDataModule"):
        writer.setup(trainer, make_task(), "predict")
    writer.setup(trainer, make_task(), "fit")
    trainer.datamodule = make_cars()  # type: ignore[attr-defined]
    writer.setup(trainer, make_task(), "predict")


def test_the_gallery_of_a_table_has_its_paths_and_attributes(
    make_task: MakeTask, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    names = [f"{place}.png" for place in range(12)]
    for place, name in enumerate(names):
        (tmp_path / name).write_bytes(noise(place))
    rows = [f"{name},{'ab'[place % 2]},{'train' if place < 8 else 'test'},{place}" for place, name in enumerate(names)]
    (tmp_path / "cars.csv").write_text("\n".join(["path,label,split,price", *rows]))
    data = PhotoDataModule(str(tmp_path / "cars.csv"), image_size=32, batch_size=4, num_workers=0)
    task = make_task(class_names=["a", "b"])
    make_trainer(callbacks=[GalleryWriter()], default_root_dir=str(tmp_path / "run")).predict(task, data)
    gallery = Gallery.load(tmp_path / "run/gallery")
    assert list(gallery.paths) == ["8.png", "9.png", "10.png", "11.png"]
    assert [gallery.attributes.at(place) for place in range(4)] == [{"price": str(price)} for price in range(8, 12)]
    assert gallery.photo(3) == tmp_path / "11.png"
    assert gallery.contents is not None
    assert gallery.contents.checksums[3].numpy().tobytes().hex() == checksum(tmp_path / "11.png")
    assert gallery.calibrated_on == "own images"
    assert main(["index", str(tmp_path / "run/gallery"), f"--add={tmp_path / 'cars.csv'}", "--device=cpu"]) == 0
    assert list(Gallery.load(tmp_path / "run/gallery").paths)[4:] == names[:8]

"""GalleryWriter: which DataModules it takes."""

import pytest
from lightning import LightningDataModule

from carsfg.callbacks.gallery_writer import GalleryWriter
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer


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

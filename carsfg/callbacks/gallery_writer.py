"""`carsfg predict` leaves a gallery to search in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from PIL import Image
from torch import Tensor

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.observer import Observer
from carsfg.callbacks.record_run import RecordRun
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.datamodule import CarsDataModule
from carsfg.errors import InputError, TrainingError
from carsfg.files import write_error
from carsfg.retrieval.similarity import Metric
from carsfg.run_record import RunRecord
from carsfg.search.attributes import Attributes
from carsfg.search.calibration import calibrate
from carsfg.search.contents import photo_contents
from carsfg.search.gallery import Gallery
from carsfg.search.growth import OWN_IMAGES
from carsfg.search.packed import path_in
from carsfg.search.roots import Roots
from carsfg.search.thumbnails import Thumbnails, encode
from carsfg.tasks.base import CarsTask
from carsfg.tasks.fingerprint import fingerprint


class GalleryWriter(Observer, BasePredictionWriter):
    """Write each process's predictions to the run's folder, and a `gallery/` of all predictions.

    `predictions-RANK.pt` holds `embedding` (N, D), `logits` (N, C) and `index` (N,), positions among these images.
    Embeddings are compared as by the run's FaissRetrieval, or by cosine.
    """

    def __init__(self) -> None:
        super().__init__("epoch")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the DataModule knows the files of the images that are predicted.

        Raises:
            InputError: it is not a CarsDataModule.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if stage == "predict" and not isinstance(data, CarsDataModule):
            raise InputError(
                f"`carsfg predict` cannot make a gallery of {type(data).__name__!r}: predict needs a subclass of "
                "carsfg.CarsDataModule; `carsfg index` makes a gallery of any folder of images"
            )

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the parts, then put them together on the first process."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        part = {key: torch.cat([batch[key].cpu() for batch in predictions]) for key in predictions[0]}
        path = folder / f"predictions-{trainer.global_rank}.pt"
        try:
            torch.save(part, path)
        except (OSError, RuntimeError) as error:
            raise TrainingError(f"cannot write {path}: {write_error(error)}; free space and start it again") from error
        trainer.strategy.barrier("predictions are written")
        if trainer.is_global_zero:
            files = [folder / f"predictions-{rank}.pt" for rank in range(trainer.world_size)]
            parts = [torch.load(file, weights_only=True) for file in files]
            whole = {key: torch.cat([one[key] for one in parts]) for key in part}
            assert isinstance(pl_module, CarsTask)  # noqa: S101
            gallery = _gallery(trainer, pl_module, whole)
            gallery.save(folder / "gallery", pl_module)
            print(f"a gallery of {len(gallery)} images: {folder / 'gallery'}")  # noqa: T201


def _gallery(trainer: Trainer, task: CarsTask, whole: dict[str, Tensor]) -> Gallery:
    """Build the gallery of all predictions, in the order of the images."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    order = whole["index"].argsort()
    rows = data.predicted_rows[whole["index"][order].numpy()]
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    metric: Metric = next((one.metric for one in callbacks if isinstance(one, FaissRetrieval)), "cosine")
    record = next((one.record for one in callbacks if isinstance(one, RecordRun)), RunRecord())
    folder = data.root if data.root.is_dir() else data.source.folder  # of a table
    embeddings = whole["embedding"][order].float()
    gallery = Gallery.build(
        embeddings,
        torch.from_numpy(data.labels[rows]),
        [path_in(folder, data.paths[row]) for row in rows],
        data.all_class_names,
        metric,
        record=record,
        fingerprint=fingerprint(task),
    )
    gallery.calibration, gallery.calibrated_on = calibrate(gallery, embeddings, itself=True), OWN_IMAGES
    crops = CroppedImages(data.source.take(rows), crop=bool(getattr(data, "crop", False)))
    gallery.contents = photo_contents(crops, range(len(crops)))
    gallery.roots = Roots.of(folder, len(rows))
    gallery.thumbnails = Thumbnails.of(
        [encode(Image.fromarray(data.crops(rows[[position]])[0])) for position in range(len(rows))]
    )
    gallery.attributes = Attributes.of(data.source.take(rows).attributes)
    return gallery

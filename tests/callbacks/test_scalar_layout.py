"""The layout names what runs log."""

from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from carsfg.callbacks import ScalarLayout
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def test_all_of_its_charts_have_lines(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = make_trainer(callbacks=[ScalarLayout(), FaissRetrieval()], logger=logger, log_every_n_steps=1)
    trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars())
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir).Reload()
    layout = layout_pb2.Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    logged = set(events.Tags()["scalars"])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert charts["loss"] == ["train/loss", "val/loss"]
    for title, tags in charts.items():
        assert title == "k-NN" or set(tags) <= logged

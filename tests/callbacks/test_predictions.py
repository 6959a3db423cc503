"""The table of predictions, against what the network and the neighbours say."""

import csv
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from carsfg.callbacks import WritePredictions
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def read(trainer: Trainer) -> list[dict[str, str]]:
    with (Path(str(trainer.log_dir)) / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_row_per_test_image(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    retrieval, data, task = FaissRetrieval(k=[1], knn=[3]), make_cars(retrieval="closed_train_gallery"), make_task()
    trainer = make_trainer(callbacks=[retrieval, WritePredictions()], logger=CSVLogger(tmp_path))
    trainer.test(task, data, verbose=False)
    rows = read(trainer)
    assert [row["path"] for row in rows] == [f"cars_test/{number:05}.jpg" for number in range(1, 21)]
    batches = list(data.test_dataloader()[0])
    with torch.no_grad():
        logits = torch.cat([task.eval()(batch["image"])["logits"] for batch in batches])
    labels = torch.cat([batch["label"] for batch in batches])
    assert [row["label"] for row in rows] == [data.class_names[label] for label in labels.tolist()]
    assert [row["top1"] for row in rows] == [data.class_names[label] for label in logits.argmax(1).tolist()]
    assert [row["top4"] for row in rows] == [data.class_names[label] for label in logits.argmin(1).tolist()]
    shares = torch.tensor([[float(row[f"probability{place}"]) for place in range(1, 5)] for row in rows])
    torch.testing.assert_close(shares, logits.softmax(1).sort(1, descending=True).values, atol=1e-3, rtol=0)
    right = sum(row["vote"] == row["label"] for row in rows) / 20
    assert retrieval.searched is not None
    assert right == pytest.approx(retrieval.searched.metrics["knn_3"])
    assert all(row["nearest"].startswith("cars_train/") for row in rows)
    nearest = sum(row["nearest_label"] == row["label"] for row in rows) / 20
    assert nearest == pytest.approx(retrieval.searched.metrics["top_1"])
    assert all(0 < float(row["known_p"]) <= 1 and -1 <= float(row["nearest_score"]) <= 1 for row in rows)


def test_without_retrieval_and_without_a_scored_head(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(callbacks=[WritePredictions()], logger=CSVLogger(tmp_path))
    trainer.test(make_task(), make_cars(), verbose=False)
    assert "nearest" not in read(trainer)[0]
    data = make_cars(protocol="zero_shot", val="none")
    trainer = make_trainer(callbacks=[FaissRetrieval(), WritePredictions()], logger=CSVLogger(tmp_path))
    trainer.test(make_task(class_names=data.class_names), data, verbose=False)
    row = read(trainer)[0]
    assert "top1" not in row
    assert row["label"] in data.all_class_names[2:]
    assert row["nearest"] != row["path"]


def test_without_a_logger_nothing_is_written(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(callbacks=[WritePredictions()], default_root_dir=tmp_path)
    trainer.test(make_task(), make_cars(), verbose=False)
    assert list(tmp_path.iterdir()) == []


class Stop(Callback):
    """Ends the process, so to speak, when the metrics of the test have been logged."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise KeyboardInterrupt


def test_the_table_is_there_before_the_metrics(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """Otherwise a run that is stopped between them would count as tested when it is resumed."""
    trainer = make_trainer(callbacks=[WritePredictions(), Stop()], logger=CSVLogger(tmp_path))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.test(make_task(), make_cars(), verbose=False)
    assert len(read(trainer)) == 20


def test_retrieval_comes_first(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(callbacks=[WritePredictions(), FaissRetrieval()])
    with pytest.raises(InputError, match="FaissRetrieval comes after WritePredictions"):
        trainer.test(make_task(), make_cars(), verbose=False)

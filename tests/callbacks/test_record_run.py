"""RecordRun: what reaches the folder, the loggers and the checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.record_run import RecordRun
from carsfg.run_record import RETRIEVAL, RunRecord
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer


def test_the_record_of_a_run(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    torch.save(make_task().backbone.state_dict(), tmp_path / "imagenet.pt")
    task = make_task(weights=str(tmp_path / "imagenet.pt"), mean=[0.5] * 3, std=[0.5] * 3)
    cars = make_cars(augment="crop_flip_rotate", margin=0.25)
    logger = CSVLogger(tmp_path, "run")
    trainer = make_trainer(limit_train_batches=1, callbacks=[RecordRun("mine"), FaissRetrieval()], logger=logger)
    trainer.fit(task, cars)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    kept = torch.load(tmp_path / "run.ckpt", weights_only=True)["carsfg"]["record"]
    record = RunRecord.from_dict(kept)
    assert record == RunRecord.read(logger.log_dir)
    assert (record.experiment, record.seed, record.weights) == ("mine", 3, "imagenet.pt")
    assert len(record.weights_sha256) == 16
    assert (record.task["backbone"], record.task["image_size"]) == (TINY_RESNET, 32)
    assert record.data["class_path"] == "carsfg.data.stanford_cars_datamodule.StanfordCarsDataModule"
    wanted = {
        "name": "drawn cars",
        "classes": 4,
        "train_images": 36,
        "test_images": 20,
        "margin": 0.25,
        "val": "holdout",
    }
    assert {key: record.data[key] for key in wanted} == wanted
    assert record.callbacks == {RETRIEVAL: {"k": [1, 5, 10], "knn": [3, 10], "metric": "cosine"}}
    assert (record.trainer["max_epochs"], record.trainer["limit_train_batches"]) == (1, 1)
    assert (record.precision, record.chosen_on) == ("32-true", "last epoch")
    assert record.hardware.startswith("1 x CPU (")
    assert str(tmp_path) not in json.dumps(kept)
    logged = Path(logger.log_dir, "hparams.yaml").read_text()
    assert f"data.split_hash: {cars.split_hash}\n" in logged
    assert str(tmp_path) not in logged


def test_all_tasks_are_compared_by_the_same_values(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    tasks = [
        make_task(freeze="backbone"),
        CarCNN(class_names=NAMES, image_size=32),
        EmbeddingExtractor(class_names=NAMES, backbone=TINY_RESNET, weights=None, image_size=32),
    ]
    compared = []
    for task in tasks:
        recorder = RecordRun()
        make_trainer(fast_dev_run=1, callbacks=[recorder]).fit(task, make_cars())
        compared.append(recorder.compared())
    assert [one["network"] for one in compared] == [f"{TINY_RESNET} frozen", "custom CNN", TINY_RESNET]
    assert compared[0].keys() == compared[1].keys() == compared[2].keys()
    assert all(isinstance(value, str | int | float) for one in compared for value in one.values())


@pytest.mark.parametrize("protocol", ["official", "zero_shot"])
def test_the_choice_is_recorded(
    protocol: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    recorder, cars = RecordRun(), make_cars(protocol=protocol)
    monitor = ModelCheckpoint(tmp_path, monitor="val/top1")
    trainer = make_trainer(callbacks=[recorder, monitor], enable_checkpointing=True, limit_train_batches=0)
    trainer.fit(make_task(class_names=cars.class_names), cars)
    assert recorder.record.chosen_on == "holdout: val/top1"
    assert (recorder.record.protocol, recorder.record.weights) == (protocol, "random")


@pytest.mark.parametrize(
    ("monitor", "expected"), [("val/top1", "holdout: val/top1"), (None, "last epoch")], ids=["checkpoint", "alone"]
)
def test_early_stopping_selects_no_checkpoint(
    monitor: str | None,
    expected: str,
    make_task: MakeTask,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
    tmp_path: Path,
) -> None:
    """Lightning moves checkpoints behind all other callbacks, so the first monitor may be that of early stopping."""
    recorder, stop = RecordRun(), EarlyStopping("val/loss")
    callbacks = [ModelCheckpoint(tmp_path, monitor=monitor), recorder, stop]
    trainer = make_trainer(callbacks=callbacks, enable_checkpointing=True, limit_train_batches=0)
    trainer.fit(make_task(), make_cars())
    assert recorder.record.chosen_on == expected


def test_callbacks_without_describe_are_recorded_by_their_arguments(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    """Averaging keeps its decay where no attribute shows it; the command line knows it."""

    class Own(Callback):
        pass

    path = "lightning.pytorch.callbacks.weight_averaging.EMAWeightAveraging"
    recorder = RecordRun(arguments={path: {"decay": 0.9}})
    callbacks = [recorder, EMAWeightAveraging(decay=0.9), Own(), LearningRateMonitor()]
    trainer = make_trainer(callbacks=callbacks, limit_train_batches=0, limit_val_batches=0, logger=True)
    trainer.fit(make_task(), make_cars())
    own = next(key for key in recorder.record.callbacks if key.endswith("Own"))
    assert recorder.record.callbacks == {path: {"decay": 0.9}, own: {}}


def test_weights_scored_after_a_fit_keep_how_they_were_trained(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    recorder, task, cars = RecordRun(), make_task(), make_cars()
    trainer = make_trainer(callbacks=[recorder], limit_train_batches=0, limit_val_batches=0, limit_test_batches=1)
    trainer.fit(task, cars)
    trained = RunRecord(seed=5, trainer={"max_epochs": 9}, hardware="of the training")
    recorder.load_record({"carsfg": {"record": trained.to_dict()}})
    trainer.test(task, cars, verbose=False)
    assert (recorder.record.seed, recorder.record.trainer["max_epochs"]) == (5, 9)
    assert recorder.record.hardware != "of the training"
    assert (recorder.record.scored_images, recorder.record.data["test_images"]) == (8, 20)
    trainer.test(task, cars, verbose=False)  # holds for one test alone
    assert recorder.record.trainer["max_epochs"] == 1


def test_data_of_a_user_is_recorded_without_folders(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    class Mine(LightningDataModule):
        class_names = NAMES

        def train_dataloader(self) -> Any:
            return cars.train_dataloader()

    cars = make_cars()
    cars.prepare_data()
    cars.setup("fit")
    recorder = RecordRun(data_arguments={"folder": str(tmp_path), "size": 7})
    make_trainer(callbacks=[recorder]).fit(make_task(), datamodule=Mine())
    path = recorder.record.data.pop("class_path")
    assert path.endswith("Mine")
    assert recorder.record.data == {"name": "Mine", "classes": 4, "size": 7}


def test_split_hash_tells_splits_apart(make_cars: MakeCars) -> None:
    hashes = []
    for kwargs in ({}, {}, {"val": "test"}, {"split_seed": 1}, {"protocol": "zero_shot"}):
        cars = make_cars(**kwargs)
        cars.setup("fit")
        hashes.append(cars.split_hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4

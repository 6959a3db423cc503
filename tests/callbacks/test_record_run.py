import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from carsfg.callbacks.record_run import RecordRun
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer


def test_stamp_of_a_run(
    make_task: MakeTask,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    backbone = {
        key.removeprefix("backbone."): value
        for key, value in make_task().state_dict().items()
        if key.startswith("backbone.")
    }
    torch.save(backbone, tmp_path / "imagenet.pt")
    task, cars = make_task(weights=str(tmp_path / "imagenet.pt")), make_cars(augment="crop_flip_rotate")
    logger = CSVLogger(tmp_path, "run")
    trainer = make_trainer(limit_train_batches=1, callbacks=[RecordRun()], logger=logger)
    trainer.fit(task, cars)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    stamp = torch.load(tmp_path / "run.ckpt", weights_only=True)["carsfg"]["stamp"]
    wanted = {
        "protocol": "official",
        "val": "holdout",
        "retrieval": "closed_loo",
        "metric": "none",
        "data": "drawn cars",
        "image_size": 32,
        "augment": "crop_flip_rotate",
        "batch_size": 8,
        "split_hash": cars.split_hash,
        "weights": "imagenet.pt",
        "chosen_on": "last epoch",
        "seed": 3,
        "precision": "32-true",
        "max_epochs": 1,
    }
    assert {key: value for key, value in stamp.items() if key in wanted} == wanted
    assert set(stamp) - set(wanted) == {"hardware", "versions"}
    assert stamp["hardware"].startswith("1 x CPU (")
    assert stamp["versions"].startswith("carsfg ")
    assert str(tmp_path) not in json.dumps(stamp)
    logged = Path(logger.log_dir, "hparams.yaml").read_text()
    assert f"split_hash: {cars.split_hash}\n" in logged
    assert "backbone: resnet18\n" in logged
    assert str(tmp_path) not in logged

    compared = trainer.callbacks[0].compared(task)  # type: ignore[attr-defined]
    assert (compared["network"], compared["weights"], compared["seed"]) == ("resnet18", "imagenet.pt", 3)
    assert all(isinstance(value, str | int | float) for value in compared.values())


def test_all_tasks_are_compared_by_the_same(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    tasks = [
        make_task(freeze=True),
        CarCNN(class_names=NAMES, image_size=32),
        EmbeddingExtractor(class_names=NAMES, backbone="resnet18", weights=None, image_size=32),
    ]
    compared = []
    for task in tasks:
        trainer = make_trainer(fast_dev_run=1, callbacks=[RecordRun()])
        trainer.fit(task, make_cars())
        compared.append(trainer.callbacks[0].compared(task))  # type: ignore[attr-defined]
    assert [one["network"] for one in compared] == ["resnet18 frozen", "custom CNN", "resnet18"]
    assert compared[0].keys() == compared[1].keys() == compared[2].keys()


@pytest.mark.parametrize("protocol", ["official", "zero_shot"])
def test_choice_and_weights(
    protocol: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    stamp, cars = RecordRun(), make_cars(protocol=protocol)
    monitor = ModelCheckpoint(tmp_path, monitor="val/top1")
    trainer = make_trainer(callbacks=[stamp, monitor], enable_checkpointing=True, limit_train_batches=0)
    task = make_task(class_names=cars.class_names)
    trainer.fit(task, cars)
    assert stamp.stamp["chosen_on"] == "holdout: val/top1"
    assert stamp.stamp["protocol"] == protocol
    assert stamp.stamp["weights"] == "random"


def test_weights_scored_after_a_fit_keep_saying_how_they_were_made(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    stamp, task, cars = RecordRun(), make_task(), make_cars()
    trainer = make_trainer(callbacks=[stamp], limit_train_batches=0, limit_val_batches=0, limit_test_batches=1)
    trainer.fit(task, cars)
    stamp.say_how_made({"carsfg": {"stamp": {"seed": 5, "max_epochs": 9, "hardware": "of the training"}}})
    trainer.test(task, cars, verbose=False)
    assert (stamp.stamp["seed"], stamp.stamp["max_epochs"]) == (5, 9)
    assert stamp.stamp["hardware"] != "of the training"
    trainer.test(task, cars, verbose=False)  # said of one test alone
    assert stamp.stamp["max_epochs"] == 1


def test_split_hash_tells_splits_apart(make_cars: MakeCars) -> None:
    hashes = []
    for kwargs in ({}, {}, {"val": "test"}, {"split_seed": 1}, {"protocol": "zero_shot"}):
        cars = make_cars(**kwargs)
        cars.setup("fit")
        hashes.append(cars.split_hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4

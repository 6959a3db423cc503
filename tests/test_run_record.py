"""The run record: what counts as the same recipe, and what survives a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carsfg.errors import InputError
from carsfg.run_record import RECORD_FILE, RETRIEVAL, RunRecord

RECORD = RunRecord(
    experiment="mine",
    task={
        "class_path": "carsfg.tasks.classifier.CarClassifier",
        "backbone": "resnet50",
        "freeze": "backbone",
        "lr": 0.1,
    },
    data={"name": "Stanford Cars", "protocol": "official", "margin": 0.0, "batch_size": 8, "split_hash": "ab"},
    callbacks={RETRIEVAL: {"metric": "euclidean", "k": [1]}, "mine.Average": {"decay": 0.9}},
    trainer={"max_epochs": 3, "precision": "bf16-mixed"},
    weights="resnet50.pt",
    chosen_on="holdout: val/top1",
    seed=3,
    hardware="1 x CPU",
    versions="carsfg 0",
)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"hardware": "a GPU"},
        {"versions": "carsfg 1"},
        {"scored_images": 7},
        {"data": RECORD.data | {"name": "another folder"}},
    ],
)
def test_repetitions(other: dict[str, Any]) -> None:
    assert replace(RECORD, **other).recipe_hash == RECORD.recipe_hash


def test_the_precision_of_a_training_may_be_unknown() -> None:
    assert RECORD.trained_precision == "bf16-mixed"
    assert RunRecord(trainer={"max_epochs": 3}).trained_precision is None


@pytest.mark.parametrize(
    "other",
    [
        {"experiment": "yours"},
        {"task": RECORD.task | {"lr": 0.2}},
        {"task": RECORD.task | {"image_size": 128}},
        {"data": RECORD.data | {"margin": 0.5}},
        {"data": RECORD.data | {"split_hash": "cd"}},
        {"callbacks": RECORD.callbacks | {"mine.Average": {"decay": 0.99}}},
        {"callbacks": {RETRIEVAL: RECORD.callbacks[RETRIEVAL]}},
        {"trainer": RECORD.trainer | {"gradient_clip_val": 1.0}},
        {"trainer": RECORD.trainer | {"limit_test_batches": 1}},
        {"weights": "random"},
        {"weights_sha256": "0123"},
        {"chosen_on": "last epoch"},
    ],
)
def test_other_recipes(other: dict[str, Any]) -> None:
    assert replace(RECORD, **other).recipe_hash != RECORD.recipe_hash


def test_a_file_keeps_the_record(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run")
    assert RunRecord.read(tmp_path / "run") == RECORD
    assert json.loads((tmp_path / "run" / RECORD_FILE).read_text())["recipe_hash"] == RECORD.recipe_hash


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"task": 3}', '{"seed": "x"}', '{"callbacks": {"a": 1}}', '{"data": null}']
)
def test_damaged_files(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(InputError, match="damaged"):
        RunRecord.read(tmp_path)


def test_a_folder_without_record(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has no {RECORD_FILE}"):
        RunRecord.read(tmp_path)


def test_what_it_says() -> None:
    assert (RECORD.network, RECORD.metric, RECORD.precision) == ("resnet50 frozen", "euclidean", "bf16-mixed")
    fixed = RunRecord(task={"backbone": "resnet50", "freeze": "batch_norm_statistics"})
    plain = RunRecord(task={"backbone": "resnet50", "freeze": "none"})
    assert (fixed.network, plain.network) == ("resnet50, BatchNorm fixed", "resnet50")
    assert RECORD.is_stanford_cars
    assert not RunRecord().is_stanford_cars
    assert RunRecord().metric is None
    assert RunRecord(task={"class_path": "mine.Focal"}).network == "Focal"
    assert RunRecord(task={"class_path": "carsfg.tasks.cnn.CarCNN"}).network == "custom CNN"
    flat = RECORD.flat()
    assert flat["task.lr"] == 0.1
    assert flat["callbacks.Average.decay"] == 0.9
    assert flat["callbacks.Average"] is True


def test_a_test_keeps_the_training_and_takes_the_scoring() -> None:
    now = replace(
        RECORD,
        data=RECORD.data | {"margin": 0.5, "batch_size": 64},
        callbacks={RETRIEVAL: {"metric": "cosine"}},
        trainer={"max_epochs": 1, "precision": "32-true"},
        weights="random",
        chosen_on="last epoch",
        seed=0,
        hardware="a GPU",
    )
    scored = RECORD.scored_as(now)
    assert (scored.seed, scored.weights, scored.chosen_on) == (3, "resnet50.pt", "holdout: val/top1")
    assert (scored.data["margin"], scored.data["batch_size"]) == (0.5, 8)
    assert (scored.metric, scored.callbacks["mine.Average"]) == ("cosine", {"decay": 0.9})
    assert scored.trainer == {"max_epochs": 3, "precision": "32-true"}
    assert scored.hardware == "a GPU"


def test_a_test_does_not_change_how_boxes_moved_in_training() -> None:
    still, moved = RECORD, replace(RECORD, data=RECORD.data | {"box_jitter": 0.1})
    now = replace(RECORD, data=RECORD.data | {"box_jitter": 0.2})
    assert moved.scored_as(now).data["box_jitter"] == moved.scored_as(still).data["box_jitter"] == 0.1
    assert still.scored_as(now).recipe_hash == still.recipe_hash

"""Where the user sets no image size, interpolation or normalisation, those of the weights are used."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from carsfg.run_record import RunRecord
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.classifier import CarClassifier
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from carsfg.tasks.image_input import input_lines, unset_input
from tests.conftest import NAMES

HALVES = [0.5, 0.5, 0.5]
TIMM: dict[str, Any] = {"image_size": 160, "interpolation": "bicubic", "mean": HALVES, "std": HALVES}
IMAGENET = {
    "image_size": 224,
    "interpolation": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "vit.pt"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    return str(path)


def used(task: Any) -> dict[str, Any]:
    return {name: task.hparams[name] for name in IMAGENET}


@pytest.mark.parametrize("kind", [CarClassifier, EmbeddingExtractor])
def test_a_task_takes_what_its_weights_expect(kind: Any, weights: str) -> None:
    task = kind(class_names=NAMES, backbone="timm:test_vit", weights=weights)
    assert used(task) == TIMM
    assert {name: task.describe()[name] for name in TIMM} == TIMM
    assert (task.preprocess.image_size, task.preprocess.interpolation) == (160, "bicubic")
    assert task.preprocess.mean.flatten().tolist() == task.preprocess.std.flatten().tolist() == [127.5] * 3


def test_what_the_user_sets_wins(weights: str) -> None:
    given = {"image_size": 96, "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3]}
    task = CarClassifier(class_names=NAMES, backbone="timm:test_vit", weights=weights, **given)  # type: ignore[arg-type]
    assert used(task) == given | {"std": HALVES}
    assert task.preprocess.mean.flatten().tolist() == pytest.approx([25.5, 51, 76.5])


def test_without_a_description_it_is_imagenets() -> None:
    assert used(CarCNN(class_names=NAMES, widths=[4])) == IMAGENET
    assert used(CarClassifier(class_names=NAMES, backbone="timm:test_vit", weights=None)) == IMAGENET


def test_a_task_that_starts_from_a_checkpoint_takes_its_values(weights: str, tmp_path: Path) -> None:
    first = CarClassifier(class_names=NAMES, backbone="timm:test_vit", weights=weights, image_size=64)
    save_network(first, tmp_path / "one.ckpt", RunRecord())
    arguments = {"backbone": "timm:test_vit", "init_from": str(tmp_path / "one.ckpt")}
    assert used(CarClassifier(class_names=NAMES, **arguments)) == TIMM | {"image_size": 64}  # type: ignore[arg-type]
    assert used(CarClassifier(class_names=NAMES, image_size=32, **arguments))["image_size"] == 32  # type: ignore[arg-type]


def test_complete_arguments_are_left_alone() -> None:
    assert unset_input(IMAGENET | {"init_from": "no/file.ckpt", "backbone": "timm:none"}) == {}


def test_lines_name_what_is_unusual() -> None:
    arguments = {"backbone": "timm:test_vit", "weights": "w.pt", **TIMM}
    assert input_lines(arguments, {"image_size": 160, "interpolation": "bilinear"}) == [
        "taken from the description of timm:test_vit's weights: model.image_size 160"
    ]
    assert input_lines({"backbone": "resnet50", "weights": "DEFAULT", **IMAGENET}, IMAGENET) == []


def test_lines_name_a_normalisation_that_is_not_that_of_the_weights() -> None:
    arguments = {"backbone": "timm:test_vit", "weights": "w.pt", **TIMM, "mean": [0.4, 0.5, 0.5]}
    (line,) = input_lines(arguments, {})
    assert line == "model.mean [0.4, 0.5, 0.5] is used as given; the weights were trained with [0.5, 0.5, 0.5]"
    assert input_lines(arguments | {"weights": None}, {}) == []  # random weights learn with any
    assert input_lines(arguments | {"init_from": "one.ckpt"}, {}) == []
    assert input_lines(arguments | {"mean": (0.5, 0.5, 0.50001)}, {}) == []

"""Networks for inference: the embeddings, logits and fingerprints of the tasks, without Lightning."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.class_paths import class_path
from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.tasks import inference
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import load, save_network
from carsfg.tasks.classifier import CarClassifier
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from carsfg.tasks.fingerprint import fingerprint
from carsfg.tasks.inference import InferenceNetwork, load_for_inference
from carsfg.tasks.pretrained import PretrainedNetwork
from tests.conftest import NAMES, TINY_RESNET

IMAGES = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TINY: dict[str, Any] = {"class_names": NAMES, "image_size": 32}
RESNET: dict[str, Any] = {**TINY, "backbone": TINY_RESNET, "weights": None}
TASKS: dict[str, tuple[type[CarsTask], dict[str, Any]]] = {
    "classifier": (CarClassifier, {**RESNET, "freeze": "backbone", "dropout": 0.5, "class_weights": [1, 2, 3, 4]}),
    "cnn": (CarCNN, {**TINY, "widths": [4, 8], "units": 2, "residual": True, "pooling": "gem"}),
    "extractor": (EmbeddingExtractor, {**RESNET, "projection": 7, "standardize": True, "normalize": True}),
    "plain extractor": (EmbeddingExtractor, {**RESNET, "pooling": "max", "interpolation": "bicubic"}),
    "metric": (EmbeddingExtractor, {**RESNET, "loss": "ProxyAnchorLoss"}),
    "pretrained": (PretrainedNetwork, {"backbone": TINY_RESNET, "weights": None, "image_size": 32}),
    "custom": (
        EmbeddingExtractor,
        {**TINY, "weights": None, "backbone": "custom_cnn", "backbone_args": {"widths": [4]}, "mean": [0.1, 0.2, 0.3]},
    ),
}


def saved(kind: str, path: Path) -> Path:
    cls, arguments = TASKS[kind]
    torch.manual_seed(0)
    task = cls(**arguments)
    for value in task.state_dict().values():  # statistics of BatchNorm, too
        if value.is_floating_point():
            value.add_(0.01 * torch.rand(value.shape))
    save_network(task, path, RunRecord())
    return path


@pytest.mark.parametrize("kind", TASKS)
def test_the_same_as_the_task(kind: str, tmp_path: Path) -> None:
    path = saved(kind, tmp_path / "run.ckpt")
    network, task = load_for_inference(path), load(path)
    assert isinstance(network, InferenceNetwork)
    assert not network.training
    assert fingerprint(network) == fingerprint(task)
    assert (network.class_names, network.device) == (task.class_names, torch.device("cpu"))
    with torch.no_grad():
        ours, theirs = network(IMAGES), task(IMAGES)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_checkpoints_from_before_an_argument_existed(tmp_path: Path) -> None:
    path = saved("plain extractor", tmp_path / "run.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    for name in ("standardize", "normalize", "dropout", "interpolation"):
        del checkpoint["hyper_parameters"][name]
    torch.save(checkpoint, path)
    network, task = load_for_inference(path), load(path)
    assert fingerprint(network) == fingerprint(task)
    assert torch.equal(network(IMAGES)["embedding"], task(IMAGES)["embedding"])


@pytest.mark.parametrize("cls", [CarClassifier, CarCNN, EmbeddingExtractor])
def test_defaults_are_those_of_the_tasks(cls: type[CarsTask]) -> None:
    of_task = inspect.signature(CarsTask).parameters | inspect.signature(cls).parameters
    network = inference.NETWORKS[class_path(cls)]
    own = dict(inference.DEFAULTS)
    build = inspect.signature(network.build_network).parameters  # type: ignore[attr-defined]
    own |= {key: one.default for key, one in build.items() if key != "self"}
    assert {key: of_task[key].default for key in own if key in of_task} == {
        key: value for key, value in own.items() if key in of_task
    }
    assert own.keys() - of_task.keys() <= {"normalize"}  # that of EmbeddingExtractor alone
    assert network.network_arguments == cls.network_arguments


class OwnTask(CarClassifier):
    """A task of a user's own."""

    def project(self, feature: torch.Tensor) -> torch.Tensor:
        return feature + 1


def test_a_task_of_your_own_is_loaded_whole(tmp_path: Path) -> None:
    save_network(OwnTask(**RESNET), tmp_path / "own.ckpt", RunRecord())
    assert isinstance(load_for_inference(tmp_path / "own.ckpt"), OwnTask)


def test_it_cannot_be_saved(tmp_path: Path) -> None:
    """It lacks tensors that training needs."""
    network: Any = load_for_inference(saved("classifier", tmp_path / "run.ckpt"))
    with pytest.raises(InputError, match=r"was loaded for inference alone.*: load its checkpoint by carsfg\.load"):
        save_network(network, tmp_path / "again.ckpt", RunRecord())
    assert not (tmp_path / "again.ckpt").exists()


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = saved("cnn", tmp_path / "run.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["state_dict"]["head.bias"]
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match=r"run\.ckpt does not fit this version of carsfg: .*head\.bias"):
        load_for_inference(path)

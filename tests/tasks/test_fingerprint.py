"""Equal where embeddings of equal images are."""

from typing import Any

import pytest
import torch

from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from carsfg.tasks.fingerprint import fingerprint
from tests.conftest import NAMES, TINY_RESNET

NETWORK: dict[str, Any] = {"class_names": NAMES, "widths": [8, 8], "stem": 2, "image_size": 32}


def cnn(**kwargs: Any) -> str:
    torch.manual_seed(0)
    return fingerprint(CarCNN(**{**NETWORK, **kwargs}))


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.5}, {"dropout": 0.5}, {"label_smoothing": 0.1}, {"class_names": NAMES[:3]}, {"optimizer": "SGD"}],
)
def test_what_changes_no_embedding(change: dict[str, Any]) -> None:
    assert cnn(**change) == cnn()


@pytest.mark.parametrize("change", [{"residual": True}, {"pooling": "max"}, {"image_size": 48}, {"std": [1, 1, 1]}])
def test_what_changes_embeddings(change: dict[str, Any]) -> None:
    assert cnn(**change) != cnn()


def test_weights_count() -> None:
    torch.manual_seed(1)
    assert fingerprint(CarCNN(**NETWORK)) != cnn()


def test_a_pooling_that_is_not_said_is_the_average() -> None:
    prints = {}
    for pooling in (None, "average", "max"):
        torch.manual_seed(0)
        arguments: dict[str, Any] = {"backbone": TINY_RESNET, "weights": None, "pooling": pooling}
        prints[pooling] = fingerprint(EmbeddingExtractor(class_names=NAMES, **arguments))
    assert prints[None] == prints["average"] != prints["max"]


def test_older_networks_keep_their_fingerprint_and_recipe() -> None:
    tasks = {}
    for standardize in (False, True):
        torch.manual_seed(0)
        arguments: dict[str, Any] = {"backbone": TINY_RESNET, "weights": None, "standardize": standardize}
        tasks[standardize] = EmbeddingExtractor(class_names=NAMES, **arguments)
    new = fingerprint(tasks[False])
    assert fingerprint(tasks[True]) != new
    assert (tasks[True].describe()["standardize"], "standardize" in tasks[False].describe()) == (True, False)
    del tasks[False].hparams["standardize"]  # as in a checkpoint of an earlier version
    assert fingerprint(tasks[False]) == new


@pytest.mark.parametrize("name", ["widths", "units", "stem", "interpolation"])
def test_arguments_of_the_network_count_even_if_the_tensors_are_equal(name: str) -> None:
    torch.manual_seed(0)
    task = CarCNN(**NETWORK)
    before = fingerprint(task)
    task.hparams[name] = "another"
    assert fingerprint(task) != before


class Tuned(CarCNN):
    """A user's task with two arguments, one of which changes embeddings."""

    network_arguments = (*CarCNN.network_arguments, "power")

    def __init__(self, power: float = 1.0, patience: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)


def test_a_new_argument_counts_if_the_task_lists_it() -> None:
    prints = []
    for arguments in ({}, {"patience": 4}, {"power": 2.0}):
        torch.manual_seed(0)
        prints.append(fingerprint(Tuned(**arguments, **NETWORK)))
    assert prints[0] == prints[1] != prints[2]

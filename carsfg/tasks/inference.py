"""Networks for inference alone: loading a checkpoint without Lightning, whose import takes longer than a search."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from carsfg.errors import InputError
from carsfg.models.backbones import skip_weights
from carsfg.models.preprocess import Preprocess
from carsfg.tasks.architectures import ClassifierNetwork, CnnNetwork, ExtractorNetwork, HeadlessNetwork
from carsfg.tasks.checkpoints import TASKS, load, read_checkpoint
from carsfg.tasks.network import CarsNetwork

PARTS = ("backbone.", "projection.", "preprocess.", "head.")  # prefixes of the tensors that inference needs
# for checkpoints without them, as the tasks have them; the test of this module compares both
DEFAULTS = {"init_from": None, "normalize": False}


class InferenceNetwork(CarsNetwork):
    """Embeds and classifies as the task in a checkpoint does, but cannot be trained or saved.

    Args:
        arguments: hyper-parameters in the checkpoint, by name.
    """

    savable = False

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        own, preprocess = defaults(self.build_network), defaults(Preprocess)
        self.hparams = DEFAULTS | preprocess | own | dict(arguments)
        self.class_names = list(self.hparams["class_names"])
        self.frozen_modules, self.still_random = [], []
        self.preprocess = Preprocess(**{name: self.hparams[name] for name in preprocess})
        self.build_network(**{name: self.hparams[name] for name in own})  # type: ignore[operator]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.preprocess.mean.device


class _Classifier(InferenceNetwork, ClassifierNetwork):
    """Network of a `CarClassifier`."""


class _Cnn(InferenceNetwork, CnnNetwork):
    """Network of a `CarCNN`."""


class _Extractor(InferenceNetwork, ExtractorNetwork):
    """Network of an `EmbeddingExtractor`."""


class _Headless(InferenceNetwork, HeadlessNetwork):
    """Network of a `PretrainedNetwork`."""


NETWORKS: dict[str, type[InferenceNetwork]] = {  # by the class path of the task
    "carsfg.tasks.classifier.CarClassifier": _Classifier,
    "carsfg.tasks.cnn.CarCNN": _Cnn,
    "carsfg.tasks.embedder.EmbeddingExtractor": _Extractor,
    "carsfg.tasks.pretrained.PretrainedNetwork": _Headless,
}


def load_for_inference(path: str | Path, device: str | torch.device = "cpu") -> CarsNetwork:
    """Load the network in a checkpoint; that of one of carsfg's own tasks without importing Lightning.

    Args:
        path: a checkpoint written by `carsfg fit`, or the network of a gallery.
        device: where to put it.

    Returns:
        The network in eval mode, with the embeddings and the fingerprint of the task that `load` returns; that task
        itself for tasks of your own.

    Raises:
        InputError: as `load` raises it.
    """
    checkpoint = read_checkpoint(path)
    name, given = (str(checkpoint["carsfg"].get(key, "")) for key in ("task", "class_path"))
    kind = NETWORKS.get(given or f"{TASKS.get(name)}.{name}")
    if kind is None:
        return load(path, device)
    try:
        with skip_weights():
            network = kind(checkpoint["hyper_parameters"])
        state = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith(PARTS)}
        network.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version of carsfg: {' '.join(str(error).split())[:200]}") from error
    return network.to(memory_format=torch.channels_last).to(device).eval()  # laid out as in training


def defaults(function: Any) -> dict[str, Any]:
    """Return the default values of the arguments of a function or class, by name.

    Args:
        function: all of whose arguments have defaults.
    """
    return {name: one.default for name, one in inspect.signature(function).parameters.items()}

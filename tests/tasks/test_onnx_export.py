"""The ONNX graph gives what the checkpoint gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks import onnx_export
from carsfg.tasks.base import CarsTask
from carsfg.tasks.classifier import CarClassifier
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from carsfg.tasks.fingerprint import fingerprint
from tests.conftest import NAMES

TASKS: dict[str, tuple[type[CarsTask], dict[str, Any]]] = {
    "CarClassifier": (CarClassifier, {"backbone": "resnet18", "weights": None}),
    "CarCNN": (CarCNN, {"widths": [8, 16], "residual": True, "stem": 2, "pooling": "max"}),
    "EmbeddingExtractor": (
        EmbeddingExtractor,
        {"backbone": "mobilenet_v2", "weights": None, "pooling": "gem", "projection": 8, "normalize": True},
    ),
}


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> StanfordCars:
    root = tmp_path_factory.mktemp("cars")
    draw_cars(root, DrawnCars(classes=4, train=25, test=1), progress=False)
    return StanfordCars(root, "train")


@pytest.mark.parametrize(
    "name",
    [
        "CarCNN",
        pytest.param("CarClassifier", marks=pytest.mark.slow),
        pytest.param("EmbeddingExtractor", marks=pytest.mark.slow),
    ],
)
def test_agrees_on_a_hundred_drawn_cars(name: str, cars: StanfordCars, tmp_path: Path) -> None:
    cls, arguments = TASKS[name]
    torch.manual_seed(0)
    task = cls(class_names=NAMES, image_size=48, **arguments).eval()
    assert onnx_export.export_onnx(task, tmp_path / "car.onnx") <= 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["car.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "car.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == NAMES
    assert facts["fingerprint"] == fingerprint(task)
    assert len(cars) == 100
    for sample in cars:  # type: ignore[attr-defined]
        image = sample["image"][None]  # crops of all sizes
        with torch.no_grad():
            expected = task(image)
        logits, embedding = session.run(None, {"image": image.numpy()})
        assert np.abs(logits - expected["logits"].numpy()).max() <= 1e-4
        assert np.abs(embedding - expected["embedding"].numpy()).max() <= 1e-4


def test_a_graph_that_disagrees_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(InputError, match="the ONNX graph differs from the checkpoint by"):
        onnx_export.export_onnx(CarCNN(class_names=NAMES, widths=[4], image_size=16).eval(), tmp_path / "car.onnx")
    assert list(tmp_path.iterdir()) == []


class MeanColour(CarsTask):
    """Embeds images by their mean colour, and has no head."""

    needs_classes = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(class_names=[], **kwargs)
        self.assemble(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), 3, dropout=0.0)


def test_a_network_without_a_head_has_no_logits(tmp_path: Path) -> None:
    assert onnx_export.export_onnx(MeanColour(image_size=8).eval(), tmp_path / "car.onnx") <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "car.onnx")
    assert [output.name for output in session.get_outputs()] == ["embedding"]

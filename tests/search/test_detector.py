"""The detector: the largest vehicle of a network of ours that returns boxes, and weights that cannot be had."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from carsfg.errors import InputError
from carsfg.search.detector import Detector

CAR, BUS, PERSON = 3, 6, 1
Found = list[tuple[list[float], int, float]]


class Stub(nn.Module):
    """Returns the same boxes for each image."""

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found, self.seen = found, [torch.empty(0)]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.seen = images
        boxes, labels, scores = zip(*self.found, strict=True) if self.found else ([], [], [])
        one = {
            "boxes": torch.tensor(boxes).view(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores),
        }
        return [one for _ in images]


@pytest.mark.parametrize(
    ("found", "box"),
    [
        ([([10, 10, 30.4, 20.6], CAR, 0.9), ([5, 5, 15, 15], CAR, 0.99)], (10, 10, 30, 21)),  # the larger one
        ([([0, 0, 60, 40], CAR, 0.4), ([5, 5, 15, 15], BUS, 0.5)], (5, 5, 15, 15)),  # the confident one
        ([([0, 0, 60, 40], PERSON, 0.9)], None),
        ([], None),
        ([([-3, -2, 80, 50], CAR, 0.9)], (0, 0, 64, 48)),
        ([([64, 48, 64, 48], CAR, 0.9)], (63, 47, 64, 48)),
    ],
)
def test_the_largest_confident_vehicle(found: Found, box: tuple[int, ...] | None) -> None:
    assert Detector(Stub(found)).find([Image.new("RGB", (64, 48))]) == [box]


def test_images_are_between_0_and_1() -> None:
    stub = Stub([])
    assert Detector(stub).find([Image.new("RGB", (6, 4), "white")] * 3, batch_size=2) == [None] * 3
    assert stub.seen[0].shape == (3, 4, 6)
    assert stub.seen[0].min() == stub.seen[0].max() == 1


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(InputError, match=r"^cannot fetch the detector's weights from https://.*no route.*--box auto$"):
        Detector.open()


def test_weights_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights file .*nowhere.pt"):
        Detector.open(tmp_path / "nowhere.pt")
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"^detector weights '.*other.pt' are not those of torchvision's fasterrcnn"):
        Detector.open(tmp_path / "other.pt")

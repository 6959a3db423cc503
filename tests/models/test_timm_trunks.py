"""timm's networks as trunks, without anything fetched."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from carsfg.errors import InputError
from carsfg.models.backbones import build_trunk
from carsfg.models.preprocess import IMAGENET_MEAN, IMAGENET_STD
from carsfg.models.timm_trunks import check_normalisation
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES


@pytest.mark.parametrize(("name", "width"), [("resnet10t", 512), ("convnext_atto", 320), ("vit_tiny_patch16_224", 192)])
def test_embeddings_of_any_size(name: str, width: int) -> None:
    trunk, found = build_trunk(f"timm:{name}")
    assert found == width
    with torch.no_grad():
        assert trunk.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)


def test_weights_from_a_file_with_their_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole: Any = timm.create_model("resnet10t", num_classes=7).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    trunk, _ = build_trunk("timm:resnet10t", str(tmp_path / "whole.pt"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(trunk.eval()(images), whole.forward_head(whole.forward_features(images), True))


def test_a_checkpoint_comes_back() -> None:
    task = CarClassifier(class_names=NAMES, backbone="timm:resnet10t", weights=None, image_size=32).eval()
    again = CarClassifier(**task.hparams).eval()
    again.load_state_dict(task.state_dict())
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(task(images)["logits"], again(images)["logits"])


def test_an_unknown_network() -> None:
    with pytest.raises(InputError, match="timm has no network 'resnet5'"):
        build_trunk("timm:resnet5")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet14t").state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"weights .*other\.pt' for timm:resnet10t have unknown"):
        build_trunk("timm:resnet10t", str(tmp_path / "other.pt"))


def test_another_normalisation_is_said() -> None:
    siglip = "timm:vit_base_patch16_siglip_224"
    with pytest.raises(InputError, match=r"set model\.mean to \[0\.5, 0\.5, 0\.5\] and model\.std to \[0\.5, 0\.5"):
        check_normalisation(siglip, "DEFAULT", IMAGENET_MEAN, IMAGENET_STD)
    check_normalisation(siglip, "DEFAULT", [0.5] * 3, [0.5] * 3)
    check_normalisation(siglip, None, IMAGENET_MEAN, IMAGENET_STD)  # random weights learn with any
    check_normalisation("timm:resnet10t", "DEFAULT", IMAGENET_MEAN, IMAGENET_STD)

"""timm's networks as backbones, without anything fetched."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from carsfg.errors import InputError
from carsfg.models.backbones import build_backbone
from carsfg.run_record import RunRecord
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet10t", 512), ("convnext_atto", 320), ("vit_tiny_patch16_224", 192), ("mobilenetv3_small_050", 1024)],
)
def test_embeddings_of_any_size(name: str, width: int) -> None:
    backbone, found = build_backbone(f"timm:{name}")
    assert found == width
    with torch.no_grad():
        assert backbone.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)


def test_weights_from_a_file_with_their_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole: Any = timm.create_model("resnet10t", num_classes=7).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    backbone, _ = build_backbone("timm:resnet10t", str(tmp_path / "whole.pt"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images), whole.forward_head(whole.forward_features(images), True))


def test_a_head_that_normalises_is_left_out(tmp_path: Path) -> None:
    torch.save(timm.create_model("repvit_m0_9").state_dict(), tmp_path / "whole.pt")
    backbone, width = build_backbone("timm:repvit_m0_9", str(tmp_path / "whole.pt"))
    with torch.no_grad():
        assert backbone.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, width)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_pooling_is_replaced(name: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    torch.manual_seed(0)
    average, _ = build_backbone(f"timm:{name}", pooling="average")
    torch.manual_seed(0)
    largest, width = build_backbone(f"timm:{name}", pooling="max")
    with torch.no_grad():
        one, other = average.eval()(images), largest.eval()(images)
    assert one.shape == other.shape == (2, width)
    assert not torch.allclose(one, other)


def test_images_of_a_size_that_patches_do_not_fit() -> None:
    arguments: dict[str, Any] = {"class_names": NAMES, "backbone": "timm:vit_tiny_patch16_224", "weights": None}
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224 takes no images of 65 pixels \(.*divisible"):
        CarClassifier(**arguments, image_size=65)
    assert CarClassifier(**arguments, image_size=32).backbone.training


def test_a_checkpoint_comes_back() -> None:
    task = CarClassifier(class_names=NAMES, backbone="timm:resnet10t", weights=None, image_size=32).eval()
    again = CarClassifier(**task.hparams).eval()
    again.load_state_dict(task.state_dict())
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(task(images)["logits"], again(images)["logits"])


def test_an_unknown_network() -> None:
    with pytest.raises(InputError, match=r"timm has no network 'convnex_tiny' \(did you mean 'convnext_tiny'\?\)"):
        build_backbone("timm:convnex_tiny")


def test_a_broken_download(monkeypatch: pytest.MonkeyPatch) -> None:
    class TransferError(Exception):
        """The hub's own, which is no OSError."""

    def break_off(*_: object, **__: object) -> None:
        raise TransferError("peer closed connection")

    monkeypatch.setattr(timm, "create_model", break_off)
    with pytest.raises(
        InputError, match=r"timm cannot build 'resnet10t' \(peer closed connection\); give --model\.weights the path"
    ):
        build_backbone("timm:resnet10t", "DEFAULT")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet14t").state_dict(), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"weights .*other\.pt' for timm:resnet10t have unknown"):
        build_backbone("timm:resnet10t", str(tmp_path / "other.pt"))


def test_an_unknown_tag() -> None:
    with pytest.raises(
        InputError, match=r"timm has no weights 'a1_in2k' of resnet50 \(did you mean 'resnet50\.a1_in1k'"
    ):
        build_backbone("timm:resnet50.a1_in2k")


def test_normalisation_of_weights_that_are_not_read(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"class_names": NAMES, "backbone": "timm:vit_tiny_patch16_224", "image_size": 32}
    save_network(CarClassifier(**arguments, weights=None), tmp_path / "one.ckpt", RunRecord())
    CarClassifier(**arguments, init_from=str(tmp_path / "one.ckpt"))  # `weights` is DEFAULT, and never looked at

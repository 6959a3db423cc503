"""What pretrained weights expect of images, by the descriptions of timm and torchvision."""

from typing import Any

import pytest
import timm
import torchvision

from carsfg.errors import InputError
from carsfg.models import image_input
from carsfg.models.image_input import IMAGENET_INPUT, describe_input, weights_name

HALVES = [0.5, 0.5, 0.5]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
BILINEAR = {"image_size": 224, "interpolation": "bilinear", **IMAGENET}


@pytest.mark.parametrize(
    ("backbone", "weights", "expected"),
    [
        ("resnet50", "DEFAULT", BILINEAR),
        ("densenet121", "DEFAULT", BILINEAR),
        ("mobilenet_v2", "some/file.pt", BILINEAR),
        ("swin_t", "IMAGENET1K_V1", BILINEAR | {"interpolation": "bicubic"}),
        ("efficientnet_b1", "IMAGENET1K_V1", BILINEAR | {"interpolation": "bicubic", "image_size": 240}),
        ("efficientnet_b1", "DEFAULT", BILINEAR | {"image_size": 240}),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", BILINEAR | {"interpolation": "bicubic", "image_size": 384}),
        ("inception_v3", "weights.pt", BILINEAR | {"image_size": 299}),
        (
            "timm:vit_base_patch16_siglip_224",
            "DEFAULT",
            {"image_size": 224, "interpolation": "bicubic", "mean": HALVES, "std": HALVES},
        ),
        ("timm:resnet10t", "file.pt", {"image_size": 176, "interpolation": "bicubic", **IMAGENET}),
        (
            "timm:test_resnet",
            "DEFAULT",
            {"image_size": 160, "interpolation": "bilinear", "mean": HALVES, "std": HALVES},
        ),
    ],
)
def test_descriptions(backbone: str, weights: str, expected: dict[str, Any]) -> None:
    assert describe_input(backbone, weights) == expected


@pytest.mark.parametrize(
    ("backbone", "weights"),
    [
        ("timm:vit_base_patch16_siglip_224", None),
        ("efficientnet_b4", None),
        ("custom_cnn", "file.pt"),
        ("no_such_network", "DEFAULT"),
        ("timm:no_such_network", "DEFAULT"),
        ("timm:resnet50.no_such_tag", "DEFAULT"),
        ("fcn_resnet50", "DEFAULT"),
        (None, "DEFAULT"),
        ({"class_path": "mine.Network"}, "DEFAULT"),
    ],
)
def test_what_has_no_description_is_imagenets(backbone: object, weights: object) -> None:
    assert describe_input(backbone, weights) == BILINEAR == IMAGENET_INPUT


def test_interpolations_that_are_missing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        image_input, "describe_timm", lambda _: {"size": (8, 8), "interpolation": "lanczos", **IMAGENET}
    )
    with pytest.raises(InputError, match=r"timm:x was trained on images resized by 'lanczos', .*: set model\.interpol"):
        describe_input("timm:x", "DEFAULT")
    assert describe_input("timm:x", "DEFAULT", ["image_size", "mean"])["image_size"] == 8


def test_images_that_are_not_square() -> None:
    network = next((name for name in timm.list_models("*sapiens2*")), None)
    if network is None:
        pytest.skip("this timm has no such network")
    with pytest.raises(
        InputError, match=r"images of 1024 x 768 pixels, and carsfg makes squares: set model\.image_size"
    ):
        describe_input(f"timm:{network}", "DEFAULT")
    assert describe_input(f"timm:{network}", "DEFAULT", ["interpolation"])["interpolation"] == "bilinear"


def test_names_of_default_weights() -> None:
    newest = torchvision.models.get_model_weights("resnet50").DEFAULT.name
    assert weights_name("resnet50", "DEFAULT") == newest == "IMAGENET1K_V2"
    assert weights_name("resnet50", "IMAGENET1K_V1") == "IMAGENET1K_V1"
    assert weights_name("timm:test_vit", "DEFAULT") == "test_vit.r160_in1k"
    assert weights_name("timm:test_vit", "mine.pt") == "mine.pt"

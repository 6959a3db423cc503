"""EmbeddingExtractor: what it gives, how it learns, and where it starts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import carsfg
from carsfg.callbacks import MixupCutmix, ReuseFrozenBackbone
from carsfg.errors import InputError
from carsfg.models.pooling import GeneralizedMean
from carsfg.tasks.base import CarsTask
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer

SMALL: dict[str, Any] = {"widths": [8, 16], "image_size": 32}
IMAGES = torch.arange(4 * 3 * 32 * 32).remainder(251).view(4, 3, 32, 32).to(torch.uint8)
LOSSES = ["ArcFaceLoss", "ProxyAnchorLoss", "MultiSimilarityLoss"]


def extractor(**kwargs: Any) -> EmbeddingExtractor:
    torch.manual_seed(0)
    defaults = {"backbone": "custom_cnn", "backbone_args": SMALL, "weights": None, "image_size": 32}
    return EmbeddingExtractor(**{**defaults, "class_names": NAMES, **kwargs})


def saved(task: CarsTask, trainer: Any, cars: Any, path: Path) -> str:
    trainer.fit(task, cars)
    trainer.save_checkpoint(path)
    return str(path)


def test_the_embedding_is_the_backbone_s_output() -> None:
    task = extractor().eval()
    assert torch.equal(task(IMAGES)["embedding"], task.backbone(task.preprocess(IMAGES)))
    assert task(IMAGES)["logits"].shape == (4, 4)


def test_projected_and_of_length_one() -> None:
    task = extractor(projection=6, normalize=True).eval()
    embedding = task(IMAGES)["embedding"]
    assert embedding.shape == (4, 6)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))
    feature = task.backbone(task.preprocess(IMAGES))
    torch.testing.assert_close(task.embed({"feature": feature}), embedding)


@pytest.mark.parametrize("loss", [None, *LOSSES])
def test_every_loss_learns(loss: str | None, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task = extractor(loss=loss, projection=8, normalize=loss is not None, lr=1e-2)
    before = {key: value.clone() for key, value in task.named_parameters()}
    make_trainer(limit_val_batches=0).fit(task, make_cars())
    still = [key for key, value in task.named_parameters() if torch.equal(value, before[key])]
    assert still == []  # proxies and head included


def test_the_head_does_not_change_what_a_metric_loss_learns() -> None:
    task = extractor(loss="ProxyAnchorLoss")
    embedding, labels = torch.randn(4, 16, requires_grad=True), torch.arange(4)
    whole, _, parts = task.loss(embedding, labels)
    assert whole == parts["loss"] + parts["metric_loss"]
    (own,) = torch.autograd.grad(whole, embedding)
    assert task.criterion is not None
    (expected,) = torch.autograd.grad(task.criterion(embedding, labels), embedding)
    assert torch.equal(own, expected)


def test_proxies_have_their_own_rate() -> None:
    task = extractor(loss="ProxyAnchorLoss", loss_lr=0.5, lr=0.01)
    optimizer = task.configure_optimizers()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.5]
    assert [p.shape for p in optimizer.param_groups[1]["params"]] == [(4, 16)]
    counts = [len(group["params"]) for group in optimizer.param_groups]
    assert sum(counts) == len(list(task.parameters()))
    scaled = extractor(loss="ProxyAnchorLoss", loss_lr=0.5, lr=0.01, backbone_lr_scale=0.1, projection=8)
    groups = scaled.configure_optimizers().param_groups
    assert [(group["name"], group["lr"]) for group in groups] == [("head", 0.01), ("backbone", 0.001), ("loss", 0.5)]
    assert [p.shape for p in groups[0]["params"]] == [(8, 16), (8,), (4, 8), (4,)]  # projection and head
    assert sum(len(group["params"]) for group in groups) == len(list(scaled.parameters()))


def test_a_frozen_backbone_is_reused_and_the_projection_learns(make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    figures = []
    for callbacks in ([ReuseFrozenBackbone()], []):
        task, trainer = extractor(freeze="backbone", projection=8), make_trainer(callbacks=callbacks, max_epochs=2)
        trainer.fit(task, make_cars())
        figures.append(task.projection.weight)
    torch.testing.assert_close(figures[0], figures[1])
    assert not torch.equal(figures[0], extractor(freeze="backbone", projection=8).projection.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["cnn", "classifier"])
def test_starts_from_any_checkpoint_without_naming_its_network(
    kind: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    first: CarsTask = CarCNN(class_names=NAMES, residual=True, **SMALL) if kind == "cnn" else make_task()
    path = saved(first, make_trainer(limit_train_batches=1), make_cars(), tmp_path / "first.ckpt")
    task = EmbeddingExtractor(class_names=NAMES, image_size=32, init_from=path)
    torch.testing.assert_close(task.eval()(IMAGES), first.eval()(IMAGES))
    again = saved(task, make_trainer(limit_train_batches=1), make_cars(), tmp_path / "second.ckpt")
    Path(path).unlink()  # what a checkpoint needs is in it
    torch.testing.assert_close(carsfg.load(again)(IMAGES)["embedding"], task.eval()(IMAGES)["embedding"])


def test_starts_with_the_projection_of_its_own_kind(
    make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    first = extractor(projection=8)
    path = saved(first, make_trainer(limit_train_batches=1), make_cars(), tmp_path / "first.ckpt")
    same, wider = (EmbeddingExtractor(class_names=NAMES, image_size=32, init_from=path, projection=p) for p in (8, 16))
    torch.testing.assert_close(same.eval()(IMAGES), first.eval()(IMAGES))
    assert same.still_random == []
    assert wider.still_random == ["head.bias", "head.weight", "projection.bias", "projection.weight"]


def test_starts_with_another_pooling_and_a_projection(
    make_cars: MakeCars, make_trainer: MakeTrainer, make_task: MakeTask, tmp_path: Path
) -> None:
    path = saved(make_task(), make_trainer(limit_train_batches=1), make_cars(), tmp_path / "first.ckpt")
    task = EmbeddingExtractor(class_names=NAMES, image_size=32, init_from=path, pooling="gem", projection=8)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert torch.equal(task.state_dict()["backbone.conv1.0.weight"], state["backbone.conv1.0.weight"])
    assert task(IMAGES)["embedding"].shape == (4, 8)


def test_standardized() -> None:
    task, plain = extractor(projection=6, standardize=True), extractor(projection=6)
    embedding = task(IMAGES)["embedding"]
    torch.testing.assert_close(embedding.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    assert not any(name.startswith("projection.1") for name, _ in task.named_parameters())
    batch_norm = task.eval().projection[1]  # type: ignore[index]
    feature = task.projection[0](task.backbone(task.preprocess(IMAGES)))  # type: ignore[index]
    expected = (feature - batch_norm.running_mean) / (batch_norm.running_var + 1e-5).sqrt()
    torch.testing.assert_close(task(IMAGES)["embedding"], expected)
    assert len(list(plain.parameters())) == len(list(task.parameters()))


@pytest.mark.parametrize("loss", [None, "ArcFaceLoss"])
def test_a_checkpoint_brings_it_back(
    loss: str | None, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    task = extractor(
        loss=loss,
        projection=8,
        standardize=True,
        normalize=True,
        backbone=TINY_RESNET,
        backbone_args=None,
        pooling="gem",
    )
    loaded = carsfg.load(saved(task, make_trainer(limit_train_batches=1), make_cars(), tmp_path / "e.ckpt"))
    assert torch.equal(loaded(IMAGES)["embedding"], task.eval()(IMAGES)["embedding"])
    assert json.loads(json.dumps(dict(loaded.hparams)))["loss"] == loss


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"loss": "ArcFase"}, "unknown loss 'ArcFase': pytorch_metric_learning.losses has no such class"),
        ({"loss": "ArcFaceLoss", "loss_args": {"margn": 3}}, "loss ArcFaceLoss with .*margn"),
        ({"projection": 0}, "model.projection is 0: give a width"),
        ({"backbone": "resnet1"}, "unknown backbone 'resnet1'"),
    ],
)
def test_what_cannot_be_built(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        extractor(**{"backbone_args": None, "backbone": "resnet18", **kwargs})


@pytest.mark.parametrize("loss", ["SubCenterArcFaceLoss", "CosFaceLoss", "TripletMarginLoss"])
def test_losses_however_they_name_their_sizes(loss: str) -> None:
    assert extractor(loss=loss).criterion is not None


def test_arguments_that_would_be_ignored() -> None:
    with pytest.raises(InputError, match=r"need a metric-learning loss: set model\.loss"):
        extractor(loss_lr=0.1)
    with pytest.raises(InputError, match="backbone_args are for custom_cnn only"):
        extractor(backbone="resnet18")
    with pytest.raises(InputError, match="custom_cnn cannot be built of"):
        extractor(backbone_args={"foo": 1})


def test_metric_losses_take_no_mixed_images(make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match="leave MixupCutmix out"):
        make_trainer(callbacks=[MixupCutmix()]).fit(extractor(loss="ProxyAnchorLoss"), make_cars())


def test_a_head_of_another_projection_is_not_taken(
    make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """Its shape fits, but its weights mean nothing for embeddings of another projection."""
    path = saved(extractor(), make_trainer(limit_train_batches=1), make_cars(), tmp_path / "first.ckpt")
    task = EmbeddingExtractor(class_names=NAMES, image_size=32, init_from=path, projection=16)
    head: torch.Tensor = torch.load(path, weights_only=True)["state_dict"]["head.weight"]
    assert head.shape == task.head.weight.shape
    assert not torch.equal(head, task.head.weight)
    assert task.still_random == ["head.bias", "head.weight", "projection.bias", "projection.weight"]


@pytest.mark.parametrize("backbone", ["convnext_tiny", "efficientnet_b0", "mobilenet_v3_small", "timm:convnext_atto"])
def test_gem_refuses_networks_with_negative_maps(backbone: str) -> None:
    words = f"feature maps of '{backbone}' have negative values, which model.pooling 'gem' cannot take"
    with pytest.raises(InputError, match=words):
        extractor(backbone=backbone, backbone_args=None, pooling="gem", projection=8)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2", TINY_RESNET])
def test_gem_takes_networks_without_negative_maps(backbone: str) -> None:
    task = extractor(backbone=backbone, backbone_args=None, pooling="gem", projection=8)
    assert any(isinstance(module, GeneralizedMean) for module in task.backbone.modules())

"""Pretrained networks as they were published: without classes, without a head, without training."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

import carsfg
from carsfg.errors import InputError
from carsfg.tasks.checkpoints import load_with_record, read_checkpoint, save_network
from carsfg.tasks.fingerprint import fingerprint
from carsfg.tasks.pretrained import PretrainedNetwork, load_pretrained
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTrainer

IMAGES = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "resnet.pt"
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


def test_it_embeds_as_timm_itself_does(weights: str) -> None:
    whole: Any = timm.create_model("test_resnet", num_classes=0).eval()
    state = {name: value for name, value in torch.load(weights).items() if not name.startswith("fc.")}
    whole.load_state_dict(state)
    resized = torch.nn.functional.interpolate(IMAGES.float(), (160, 160), mode="bilinear", antialias=True)
    task = carsfg.load(TINY_RESNET, weights=weights)
    with torch.no_grad():
        found = task(IMAGES)
        torch.testing.assert_close(found["embedding"], whole((resized / 255 - 0.5) / 0.5), atol=1e-4, rtol=1e-4)
    assert found.keys() == {"embedding"}
    assert not task.has_head
    assert not task.training


def test_a_network_of_torchvision(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "net.pt")
    task, record = load_pretrained("torchvision:squeezenet1_1", str(tmp_path / "net.pt"))
    assert task.hparams["backbone"] == record.task["backbone"] == "squeezenet1_1"
    assert task(IMAGES)["embedding"].shape == (2, 512)


def test_its_record(weights: str) -> None:
    _, record = load_pretrained(TINY_RESNET, weights)
    assert record.task == {
        "class_path": "carsfg.tasks.pretrained.PretrainedNetwork",
        "backbone": TINY_RESNET,
        "image_size": 160,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    assert (record.weights, len(record.weights_sha256)) == ("resnet.pt", 16)
    assert (record.chosen_on, record.is_trained, record.data, record.trainer) == ("not trained", False, {}, {})


def test_it_comes_back_from_a_checkpoint(weights: str, tmp_path: Path) -> None:
    task, record = load_with_record(TINY_RESNET, weights=weights)
    save_network(task, tmp_path / "network.ckpt", record)
    again, read = load_with_record(tmp_path / "network.ckpt")
    assert (type(again), read, again.class_names) == (PretrainedNetwork, record, [])
    assert torch.equal(again(IMAGES)["embedding"], task(IMAGES)["embedding"])
    assert read_checkpoint(tmp_path / "network.ckpt")["hyper_parameters"]["class_names"] == []


def test_a_classifier_of_the_same_weights_has_its_fingerprint(weights: str) -> None:
    task = carsfg.load(TINY_RESNET, weights=weights)
    classifier = carsfg.CarClassifier(class_names=NAMES, backbone=TINY_RESNET, weights=weights)
    assert fingerprint(classifier) == fingerprint(task)
    other = carsfg.CarClassifier(class_names=NAMES, backbone=TINY_RESNET, weights=weights, image_size=96)
    assert fingerprint(other) != fingerprint(task)


def test_it_is_not_trained(weights: str, make_trainer: MakeTrainer, make_cars: MakeCars) -> None:
    task = PretrainedNetwork(backbone=TINY_RESNET, weights=weights, image_size=32)
    with pytest.raises(InputError, match=r"a PretrainedNetwork is not trained: train a carsfg\.CarClassifier"):
        make_trainer().fit(task, make_cars())
    with pytest.raises(InputError, match="a PretrainedNetwork learns no classes"):
        PretrainedNetwork(backbone=TINY_RESNET, weights=weights, class_names=NAMES)
    with pytest.raises(InputError, match="timm:test_resnet has no classification head: it only embeds"):
        task.classify(torch.zeros(1, 96))


def test_a_trainer_scores_its_retrieval(weights: str, make_trainer: MakeTrainer, make_cars: MakeCars) -> None:
    trainer = make_trainer(callbacks=[carsfg.FaissRetrieval()])
    trainer.test(PretrainedNetwork(backbone=TINY_RESNET, weights=weights, image_size=32), make_cars(), verbose=False)
    keys = {key.rpartition("/")[0] for key in trainer.callback_metrics}
    assert keys == {"test/retrieval"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:test_resne", r"timm has no network 'test_resne' \(did you mean 'test_resnet'\?\)"),
        ("torchvision:resnet5O", r"torchvision has no classification network 'resnet5O' \(did you mean 'resnet50'\?\)"),
        ("torchvision:custom_cnn", "torchvision has no classification network 'custom_cnn'"),
        ("torchvision:timm:test_resnet", "torchvision has no classification network 'timm:test_resnet'"),
        ("torchvision:fcn_resnet50", "torchvision has no classification network 'fcn_resnet50'"),
        ("timm:test_vit", "weights .*resnet.pt' for timm:test_vit lack"),
        (
            "cars.ckpt",
            r"--weights '.*resnet\.pt' is for pretrained networks, .*'cars\.ckpt' is a checkpoint, which holds",
        ),
    ],
)
def test_mistakes(name: str, said: str, weights: str) -> None:
    with pytest.raises(InputError, match=said):
        carsfg.load(name, weights=weights)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(InputError) as caught:
        carsfg.load(TINY_RESNET)
    assert str(caught.value) == (
        "timm cannot build 'test_resnet' (no route to host); "
        "give --weights the path of a state_dict of timm:test_resnet"
    )


@pytest.mark.parametrize(("name", "backbone"), [("timm:test_vit", "timm:test_vit"), ("torchvision:vgg11", "vgg11")])
def test_a_name_is_not_a_checkpoint_to_train_from(name: str, backbone: str) -> None:
    with pytest.raises(InputError, match=f"a checkpoint is needed: .* with --model.backbone={backbone}$"):
        carsfg.CarClassifier(class_names=NAMES, backbone="vgg11", init_from=name)

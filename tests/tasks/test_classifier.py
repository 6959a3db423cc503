import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from carsfg.errors import InputError
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer

IMAGES = torch.arange(2 * 3 * 40 * 40).remainder(251).view(2, 3, 40, 40).to(torch.uint8)


def after_training(task: CarClassifier, trainer: Any, data: Any) -> dict[str, bool]:
    """Train; tell for each tensor of the state_dict whether it changed."""
    before = copy.deepcopy(task.state_dict())
    trainer.fit(task, data)
    return {key: not torch.equal(value, before[key]) for key, value in task.state_dict().items()}


def test_photos_in_embedding_and_logits_out(make_task: MakeTask) -> None:
    task = make_task().eval()
    out = task(IMAGES)
    assert {key: tuple(value.shape) for key, value in out.items()} == {"embedding": (2, 96), "logits": (2, 4)}
    torch.testing.assert_close(task(IMAGES.float()), out)


def test_embedding_comes_before_dropout(make_task: MakeTask) -> None:
    task = make_task(dropout=0.5, freeze="backbone")
    first, second = task(IMAGES), task(IMAGES)
    assert torch.equal(first["embedding"], second["embedding"])
    assert not torch.equal(first["logits"], second["logits"])
    task.eval()
    assert torch.equal(task(IMAGES)["logits"], task.head(first["embedding"]))


def test_a_feature_passes_through(make_task: MakeTask) -> None:
    feature = torch.ones(3, 96)
    assert make_task().embed({"feature": feature}) is feature


def test_frozen_backbone_stands_still(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    changed = after_training(make_task(freeze="backbone"), make_trainer(), make_cars())
    assert sorted(key for key, value in changed.items() if value) == ["head.bias", "head.weight"]
    assert "backbone.bn1.running_mean" in changed  # BatchNorm statistics are among what is compared


def test_backbone_learns_otherwise(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    changed = after_training(make_task(), make_trainer(max_steps=3), make_cars())
    assert sorted(key for key, value in changed.items() if not value) == ["preprocess.mean", "preprocess.std"]


def test_frozen_backbone_stays_in_eval_mode(make_task: MakeTask) -> None:
    task = make_task(freeze="backbone")
    for mode in (True, False, True):
        task.train(mode)
        assert not any(module.training for module in task.backbone.modules())
        assert task.dropout.training is mode


def test_statistics_of_batch_norm_stand_still_while_everything_learns(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(freeze="batch_norm_statistics")
    changed = after_training(task, make_trainer(max_steps=3), make_cars())
    still = {key for key, value in changed.items() if not value}
    statistics = {
        key for key in changed if key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert still == statistics | {"preprocess.mean", "preprocess.std"}
    assert len(statistics) == 45  # three of each of 15 layers


def test_batch_norm_of_timm_stands_still_and_all_else_trains() -> None:
    timm = pytest.importorskip("timm")
    task = CarClassifier(
        "timm:efficientnet_lite0", None, freeze="batch_norm_statistics", dropout=0.5, image_size=32, class_names=NAMES
    )
    for mode in (True, False, True):
        task.train(mode)
        layers = [one for one in task.backbone.modules() if isinstance(one, timm.layers.BatchNormAct2d)]
        assert len(layers) == 49
        assert not any(one.training for one in layers)
        others = [one for one in task.backbone.modules() if isinstance(one, torch.nn.Conv2d)]
        assert {one.training for one in (*others, task.dropout)} == {mode}
    assert all(parameter.requires_grad for parameter in task.parameters())


def test_statistics_of_layers_that_the_trainer_exchanges(make_task: MakeTask) -> None:
    task = make_task(freeze="batch_norm_statistics")
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    task.train()
    layers = [one for one in task.backbone.modules() if isinstance(one, torch.nn.SyncBatchNorm)]
    assert [one.training for one in layers] == [False] * 15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"freeze": True},
            r"unknown model\.freeze True: use backbone \(true in earlier versions\), none \(false\) or batch",
        ),
        ({"freeze": "all"}, "unknown model.freeze 'all'"),
        (
            {"freeze": "batch_norm_statistics", "backbone": "squeezenet1_1"},
            "'batch_norm_statistics': squeezenet1_1 has no BatchNorm layers, use none or backbone",
        ),
    ],
)
def test_what_cannot_be_frozen(arguments: dict[str, Any], words: str, make_task: MakeTask) -> None:
    with pytest.raises(InputError, match=words):
        make_task(**arguments)


def test_hyper_parameters_are_plain_json(make_task: MakeTask) -> None:
    task = make_task(freeze="backbone", dropout=0.5, scheduler="StepLR", scheduler_args={"step_size": 7, "gamma": 0.1})
    told = json.loads(json.dumps(dict(task.hparams)))
    assert told["class_names"] == NAMES
    assert (told["backbone"], told["weights"], told["freeze"], told["dropout"]) == (TINY_RESNET, None, "backbone", 0.5)
    assert told["scheduler_args"] == {"step_size": 7, "gamma": 0.1}
    assert json.dumps(dict(CarClassifier(**told).hparams)) == json.dumps(told)


def test_unknown_backbone() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet1'"):
        CarClassifier("resnet1", class_names=NAMES)


def test_weights_are_read_at_once(tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"no weights file .*w\.pt"):
        CarClassifier("resnet18", str(tmp_path / "w.pt"), class_names=NAMES)


def training_loss(task: CarClassifier, logits: Tensor) -> float:
    """The loss of a step in which the head gives these logits for the label 0."""
    torch.nn.init.zeros_(task.head.weight)
    task.head.bias.data = logits
    task.log = task.log_dict = lambda *_, **__: None  # type: ignore[assignment]  # needs a trainer
    return task.training_step({"feature": torch.zeros(1, 96), "label": torch.tensor([0])}, 0).item()


def test_label_smoothing(make_task: MakeTask) -> None:
    logits = torch.tensor([3.0, 0.0, 0.0, 0.0])
    wrong, right = 3.139206, 0.139206  # log(e^3 + 3), and that less 3
    assert training_loss(make_task(), logits) == pytest.approx(right, abs=1e-5)
    assert training_loss(make_task(label_smoothing=0.2), logits) == pytest.approx(0.85 * right + 0.15 * wrong, abs=1e-5)

"""What does not learn is not changed by an average of the weights either: validated, saved, and left in the task."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor

from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing
from carsfg.tasks.checkpoints import read_checkpoint
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import MakeCars, MakeTask, MakeTrainer

Tensors = dict[str, Tensor]


def tensors(task: LightningModule) -> Tensors:
    both = [*task.named_parameters(), *task.named_buffers()]  # those that no checkpoint holds as well
    return {key: value.detach().clone() for key, value in both}


def changed(before: Tensors, after: Tensors) -> set[str]:
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


class Validated(Callback):
    """Keeps the weights that are validated, and those in training before."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.training = tensors(pl_module)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.seen = tensors(pl_module)


@pytest.fixture
def fit(make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path) -> Any:
    """Trains with an average; gives the weights that were validated, those in training then, the saved and the last."""

    def run(task: CarClassifier, *callbacks: Callback, epochs: int = 1, batches: int = 4) -> list[Tensors]:
        watch, saved = Validated(), ModelCheckpoint(tmp_path, filename="saved", every_n_train_steps=batches)
        trainer = make_trainer(
            max_epochs=epochs,
            limit_train_batches=batches,
            callbacks=[*callbacks, EMAWeightAveraging(decay=0.9), watch, saved],
            enable_checkpointing=True,
        )
        trainer.fit(task, make_cars(batch_size=4))
        return [watch.seen, watch.training, read_checkpoint(tmp_path / "saved.ckpt")["state_dict"], tensors(task)]

    return run


def test_a_frozen_backbone_stays_as_it_is(fit: Any, make_task: MakeTask) -> None:
    task = make_task(freeze="backbone")
    before = tensors(task)
    validated, training, saved, last = fit(task)
    learned = {"head.weight", "head.bias"}
    assert changed(before, validated) == changed(before, saved) == changed(before, last) == learned
    assert changed(training, validated) == learned  # for it is averaged
    assert changed(validated, saved) == set()


def test_a_backbone_that_learns_in_another_training(
    fit: Any, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(backbone="squeezenet1_1", freeze="backbone")
    _, _, _, before = fit(task)
    task.requires_grad_(True)
    make_trainer(limit_train_batches=1).fit(task, make_cars())
    assert changed(before, tensors(task)) >= {key for key, _ in task.named_parameters()}


def test_indices_stay_as_they_are(fit: Any, make_task: MakeTask) -> None:
    """Swin, MaxViT and others of torchvision and timm look their biases up by such."""
    task = make_task(backbone="squeezenet1_1")
    task.backbone.register_buffer("kept", torch.arange(40))
    task.backbone.register_buffer("made", torch.arange(40), persistent=False)
    for found in fit(task):
        assert found["backbone.kept"].tolist() == list(range(40))
        assert found.get("backbone.made", torch.arange(40)).tolist() == list(range(40))


def test_indices_stay_as_they_are_in_a_run_resumed_within_an_epoch(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    def run(name: str, start: str | None = None) -> None:
        task = make_task(backbone="squeezenet1_1")
        task.backbone.register_buffer("kept", torch.arange(40))
        saved = ModelCheckpoint(tmp_path, filename=f"{name}-{{step}}", every_n_train_steps=2, save_top_k=-1)
        average = EMAWeightAveraging(decay=0.9)
        trainer = make_trainer(callbacks=[average, saved], enable_checkpointing=True, limit_val_batches=0)
        trainer.fit(task, make_cars(), ckpt_path=start, weights_only=True)
        assert trainer.global_step == 5
        state: Tensors = read_checkpoint(tmp_path / f"{name}-step=4.ckpt")["state_dict"]
        assert state["backbone.kept"].tolist() == tensors(task)["backbone.kept"].tolist() == list(range(40))

    run("whole")
    run("resumed", start=str(tmp_path / "whole-step=2.ckpt"))


@pytest.mark.slow
def test_networks_that_look_up_by_index(fit: Any, make_task: MakeTask) -> None:
    task = make_task(backbone="swin_t", lr=1e-5)
    index = {key: value for key, value in tensors(task).items() if key.endswith("relative_position_index")}
    assert len(index) == 12
    for found in fit(task, batches=3):
        assert changed(index, {key: found[key] for key in index}) == set()


def test_what_learns_later_is_averaged_later(fit: Any, make_task: MakeTask) -> None:
    task = make_task()
    before = tensors(task)
    learned = {key for key in before if key.startswith(("head.", "backbone.layer4."))}
    learned = {key for key in learned if before[key].is_floating_point()}  # BatchNorm does not need its counts
    stages = [Stage(["head"], 1, 1e-3), Stage(["backbone.layer4"], 1, 1e-3)]
    found = fit(task, StagedUnfreezing(stages), epochs=2)
    for weights in found:
        assert {key for key in changed(before, weights) if before[key].is_floating_point()} == learned
    validated, training, *_ = found
    assert learned <= changed(training, validated)

"""Averaged weights in checkpoints of weights only, and tensors that training does not change."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor, nn

from carsfg.callbacks.record_run import RecordRun
from carsfg.tasks.averaging import attached_trainer
from carsfg.tasks.checkpoints import read_checkpoint
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def test_the_trainer_of_a_task_is_none_before_it_is_attached(make_task: MakeTask, make_trainer: MakeTrainer) -> None:
    task, trainer = make_task(), make_trainer()
    assert attached_trainer(task) is None
    task.trainer = trainer
    assert attached_trainer(task) is trainer


def test_weights_saved_alone_are_those_of_a_whole_checkpoint(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    saving = [
        ModelCheckpoint(tmp_path, "whole", monitor="val/loss"),
        ModelCheckpoint(tmp_path, "alone", save_weights_only=True),
    ]
    trainer = make_trainer(callbacks=[RecordRun(), EMAWeightAveraging(decay=0.5), *saving], enable_checkpointing=True)
    trainer.fit(make_task(backbone="squeezenet1_1"), make_cars())
    whole, alone = (read_checkpoint(tmp_path / f"{name}.ckpt") for name in ("whole", "alone"))
    assert whole["carsfg"] == alone["carsfg"]
    assert alone["carsfg"]["record"]["chosen_on"] == "holdout: val/loss"
    assert all(torch.equal(value, alone["state_dict"][key]) for key, value in whole["state_dict"].items())
    assert not torch.equal(whole["current_model_state"]["head.weight"], alone["state_dict"]["head.weight"])
    assert not {"current_model_state", "averaging_state", "callbacks", "optimizer_states"} & alone.keys()


class Counting(nn.Module):
    """Passes images on; `table` never changes, `steps` counts the training steps, both as floats."""

    steps: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("table", torch.linspace(-1.1, 1.3, 40))  # as relative_coords_table of Swin v2
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, images: Tensor) -> Any:
        if self.training:
            self.steps += 1
        return self.backbone(images)


@pytest.mark.parametrize("weights_only", [False, True])
def test_float_buffers_are_constant_as_long_as_nothing_changes_them(
    weights_only: bool, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    task = make_task(backbone="squeezenet1_1")
    task.backbone = Counting(task.backbone)
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_weights_only=weights_only, save_top_k=-1)
    trainer = make_trainer(callbacks=[EMAWeightAveraging(decay=0.9), saved], enable_checkpointing=True)
    trainer.fit(task, make_cars())
    table = torch.linspace(-1.1, 1.3, 40)
    decayed = table.clone()
    for _ in range(5):
        decayed = 0.9 * decayed + (1 - 0.9) * table
    assert not torch.equal(decayed, table)  # an average that is off by rounding
    states: list[dict[str, Tensor]] = [read_checkpoint(tmp_path / f"step={n}.ckpt")["state_dict"] for n in (2, 4)]
    for state in [*states, task.state_dict()]:
        assert torch.equal(state["backbone.table"], table)
    # the counts are averaged: 1, then .9 * 1 + .1 * 2, ...
    averages = [1.0]
    for step in (2, 3, 4, 5):
        averages.append(0.9 * averages[-1] + 0.1 * step)
    assert [float(state["backbone.steps"]) for state in states] == pytest.approx([averages[1], averages[3]])
    assert float(task.state_dict()["backbone.steps"]) == pytest.approx(averages[4])

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing, _outside
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer

STAGES = [
    Stage(["head"], 1, 1e-3),
    Stage(["backbone.layer4"], 1, 5e-4),
    Stage(["backbone.layer3", "backbone.layer2"], 1, 1e-4),
]


class Watch(Callback):
    """Notes, per epoch, which tensors changed, the rates of the groups, and what is dropping."""

    def __init__(self) -> None:
        self.changed: list[set[str]] = []
        self.rates: list[list[float]] = []
        self.dropping: list[set[str]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx > 0:
            return
        self.before = {key: value.clone() for key, value in pl_module.state_dict().items()}
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])
        random = (nn.Dropout, StochasticDepth)
        named = pl_module.named_modules()
        self.dropping.append({name for name, one in named if isinstance(one, random) and one.training})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after: dict[str, Tensor] = pl_module.state_dict()
        self.changed.append({key for key, value in after.items() if not torch.equal(value, self.before[key])})


def under(task: LightningModule, *names: str) -> set[str]:
    return {key for key in task.state_dict() if key.startswith(tuple(f"{name}." for name in names))}


def test_exactly_the_stages_learn(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, watch = make_task(), Watch()
    trainer = make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(STAGES), watch])
    trainer.fit(task, make_cars())
    fourth = {"head", "backbone.layer4"}
    assert watch.changed == [  # BatchNorm statistics included
        under(task, "head"),
        under(task, *fourth),
        under(task, *fourth, "backbone.layer3", "backbone.layer2"),
    ]
    assert watch.rates == [[1e-3, 0, 0], [5e-4, 5e-4, 0], [1e-4, 1e-4, 1e-4]]
    assert [group["name"] for group in trainer.optimizers[0].param_groups] == [
        "head",
        "backbone.layer4",
        "backbone.layer3 + backbone.layer2",
    ]


def test_stages_of_several_epochs(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    watch = Watch()
    stages = [Stage(["head"], 2, 0.5), Stage(["backbone.features.12"], 3, 0.25)]
    trainer = make_trainer(max_epochs=5, limit_train_batches=1, callbacks=[StagedUnfreezing(stages), watch])
    trainer.fit(make_task(backbone="squeezenet1_1", optimizer="SGD"), make_cars())
    assert watch.rates == [[0.5, 0], [0.5, 0], [0.25, 0.25], [0.25, 0.25], [0.25, 0.25]]


def test_the_whole_backbone_at_once(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task, watch = make_task(), Watch()
    stages = [Stage(["head"], 1, 1e-3), Stage(["backbone"], 1, 1e-4)]
    make_trainer(max_epochs=2, callbacks=[StagedUnfreezing(stages), watch]).fit(task, make_cars())
    assert watch.changed == [under(task, "head"), under(task, "head", "backbone")]


def test_nothing_is_dropped_where_nothing_learns(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    watch = Watch()
    stages = [Stage(["head"], 1, 1e-3), Stage(["backbone.features.7"], 1, 1e-4)]
    task = make_task(backbone="efficientnet_b0", dropout=0.5)  # every block of it may be dropped
    trainer = make_trainer(max_epochs=2, limit_train_batches=1, limit_val_batches=0)
    trainer.callbacks += [StagedUnfreezing(stages), watch]  # type: ignore[attr-defined]
    trainer.fit(task, make_cars())
    assert watch.dropping == [{"dropout"}, {"dropout", "backbone.features.7.0.stochastic_depth"}]


@pytest.mark.parametrize(
    ("backbone", "last"),
    [
        ("resnet18", "backbone.layer4.1"),
        ("densenet121", "backbone.features.denseblock4.denselayer16"),
        ("efficientnet_b0", "backbone.features.8"),
        # whose BatchNorm has children: an activation, and dropout
        ("timm:efficientnet_lite0", "backbone.blocks.6"),
        ("timm:regnety_002", "backbone.s4.b7"),
    ],
)
def test_statistics_move_exactly_where_something_learns(backbone: str, last: str, make_task: MakeTask) -> None:
    task = make_task(backbone=backbone)
    modules = dict(task.named_modules())
    normalising = [name for name, module in modules.items() if isinstance(module, nn.BatchNorm2d)]
    images = torch.arange(8 * 3 * 32 * 32).remainder(251).view(8, 3, 32, 32).to(torch.uint8)
    for learning in (["head"], ["head", last], ["head", "backbone"]):
        task.frozen_modules = _outside(task, learning)
        task.train()
        before = {key: value.clone() for key, value in task.named_buffers()}
        with torch.no_grad():
            task(images)
        after = dict(task.named_buffers())
        moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
        learn = [name for name in normalising if f"{name}.".startswith(tuple(f"{one}." for one in learning))]
        assert moved == {
            f"{name}.{key}" for name in learn for key in ("running_mean", "running_var", "num_batches_tracked")
        }
        assert bool(learn) == (len(learning) == 2)


@pytest.mark.slow
def test_resumes_in_its_stage(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole, first, rest = make_task(), make_task(), make_task()
    make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(STAGES)]).fit(whole, make_cars())

    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "two.ckpt")
            trainer.should_stop = trainer.current_epoch == 1

    make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(STAGES), Stop()]).fit(first, make_cars())
    watch = Watch()
    trainer = make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(STAGES), watch])
    trainer.fit(rest, make_cars(), ckpt_path=str(tmp_path / "two.ckpt"), weights_only=True)
    assert watch.rates == [[1e-4, 1e-4, 1e-4]]
    assert all(torch.equal(value, rest.state_dict()[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (STAGES[:2], "the stages of StagedUnfreezing last 2 epochs, trainer.max_epochs is 3"),
        ([Stage(["backbone.layer5"], 3, 0.1)], "no module 'backbone.layer5'; the backbone has conv1, .*layer4"),
        ([Stage(["head"], 1, 0.1), Stage(["head"], 2, 0.1)], "names 'head' twice"),
        ([Stage(["backbone.layer4"], 1, 0.1), Stage(["backbone"], 2, 0.1)], "names 'backbone' twice"),
    ],
)
def test_stages_that_do_not_fit(
    stages: list[Stage], words: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    with pytest.raises(InputError, match=words):
        make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(stages)]).fit(make_task(), make_cars())


def test_a_scheduler_is_refused(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    task = make_task(scheduler="StepLR", scheduler_args={"step_size": 1})
    with pytest.raises(InputError, match=r"set model\.scheduler: null"):
        make_trainer(max_epochs=3, callbacks=[StagedUnfreezing(STAGES)]).fit(task, make_cars())


class SaveRanks(Callback):
    """Saves the weights of every process, for the test below; named in its config."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trained = {key: value for key, value in pl_module.named_parameters() if value.requires_grad}
        torch.save({key: value.detach() for key, value in trained.items()}, f"{self.folder}/{trainer.global_rank}.pt")


CONFIG = """
model:
  class_path: carsfg.CarClassifier
  init_args: {{backbone: resnet18, weights: null, image_size: 32, optimizer: SGD}}
data:
  root: {root}
  drawn: {{classes: 4, train: 10, test: 5}}
  image_size: 32
  batch_size: 8
  num_workers: 0
  on_device: {on_device}
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 2
  strategy: ddp
  enable_progress_bar: false
  callbacks:
    - class_path: carsfg.callbacks.StagedUnfreezing
      init_args:
        stages:
          - {{modules: [head], epochs: 1, lr: 0.01}}
          - {{modules: [backbone.layer4], epochs: 1, lr: 0.01}}
    - class_path: tests.callbacks.test_staged_unfreezing.SaveRanks
      init_args: {{folder: {folder}}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("on_device", ["false", "true"])
def test_two_processes_stay_together(on_device: str, drawn_root: Path, make_task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "ddp.yaml").write_text(CONFIG.format(root=drawn_root, folder=tmp_path, on_device=on_device))
    project = Path(__file__).parents[2]
    command = [sys.executable, "-m", "carsfg", "fit", "--config", "ddp.yaml"]
    variables = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert set(one) == {
        key for key, _ in make_task().named_parameters() if key.startswith(("head.", "backbone.layer4."))
    }
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    with (tmp_path / "lightning_logs/ddp/version_0/per_class.csv").open() as file:
        assert [int(row["images"]) for row in csv.DictReader(file)] == [5, 5, 5, 5]  # each tested once, by one of them

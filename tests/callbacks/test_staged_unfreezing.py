import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing
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
        ("resnet18", "backbone"),
        ("densenet121", "backbone.features.denseblock4.denselayer16"),
        ("efficientnet_b0", "backbone.features.8"),
        # whose BatchNorm has children: an activation, and dropout
        ("timm:efficientnet_lite0", "backbone.blocks.6"),
        ("timm:efficientnet_lite0", "backbone"),
        ("timm:regnety_002", "backbone.s4.b7"),
    ],
)
def test_statistics_move_exactly_where_something_learns(
    backbone: str, last: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task, watch = make_task(backbone=backbone), Watch()
    stages = StagedUnfreezing([Stage(["head"], 1, 1e-3), Stage([last], 1, 1e-3)])
    trainer = make_trainer(max_epochs=2, limit_train_batches=1, limit_val_batches=0, callbacks=[stages, watch])
    trainer.fit(task, make_cars(batch_size=4))
    statistics = {key for key, _ in task.named_buffers() if key.startswith("backbone.")}
    assert watch.changed[0] & statistics == set()
    assert watch.changed[1] & statistics == {key for key in statistics if key.startswith(f"{last}.")} != set()


def test_a_run_resumed_within_an_epoch_has_the_modes_of_its_stage(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    short: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 3, "limit_val_batches": 0}
    callbacks = [StagedUnfreezing(STAGES), saved]
    make_trainer(callbacks=callbacks, enable_checkpointing=True, max_steps=4, **short).fit(make_task(), make_cars())
    for step, stages in ((2, 1), (4, 2)):
        task, modes = make_task(), Modes()
        trainer = make_trainer(callbacks=[StagedUnfreezing(STAGES), modes], max_steps=step + 1, **short)
        trainer.fit(task, make_cars(), ckpt_path=str(tmp_path / f"step={step}.ckpt"), weights_only=True)
        normalising = {name for name, one in task.named_modules() if isinstance(one, nn.BatchNorm2d)}
        learning = tuple(f"{name}." for stage in STAGES[:stages] for name in stage.modules)
        assert modes.first == {name for name in normalising if name.startswith(learning)}


class Modes(Callback):
    """Notes the BatchNorm modules that are in training mode at the first step."""

    first: set[str] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.first is None:
            named = pl_module.named_modules()
            self.first = {name for name, one in named if isinstance(one, nn.BatchNorm2d) and one.training}


def moved(task: Any, before: Tensor) -> float:
    return float((task.head.weight - before).norm())


def test_gradients_of_later_stages_do_not_count_for_clipping(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    """The head learns as with a frozen backbone, which has no gradients."""
    lengths: dict[str, float] = {}
    for kind in ("staged", "frozen"):
        task = make_task(freeze="backbone" if kind == "frozen" else "none", optimizer="SGD", lr=0.1)
        before = task.head.weight.detach().clone()
        stages = [Stage(["head"], 1, 0.1), Stage(["backbone.layer4", "backbone.layer3"], 1, 0.1)]
        callbacks: list[Callback] = [StagedUnfreezing(stages), Stop()] if kind == "staged" else []
        epochs = 2 if callbacks else 1
        trainer = make_trainer(max_epochs=epochs, callbacks=callbacks, gradient_clip_val=0.1, limit_val_batches=0)
        trainer.fit(task, make_cars())
        lengths[kind] = moved(task, before)
        assert trainer.global_step == 5
    assert 0 < lengths["frozen"] <= 5 * 0.1 * 0.1  # five steps of a gradient of length 0.1 at most
    assert lengths["staged"] == pytest.approx(lengths["frozen"], rel=1e-5)


class Stop(Callback):
    """Stops after the first epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = True


class CountGradients(Callback):
    """Counts the parameters with a gradient at the last step of each epoch."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if trainer.is_last_batch:
            self.counts.append(sum(one.grad is not None for one in pl_module.parameters()))


def test_a_stage_begins_with_an_empty_state_of_the_optimizer(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    stages = [Stage(["head"], 1, 0.1), Stage(["backbone.layer4"], 1, 0.1)]
    trainer = make_trainer(max_epochs=2, callbacks=[StagedUnfreezing(stages), Stop()], limit_val_batches=0)
    trainer.fit(make_task(), make_cars())
    head, later = (group["params"] for group in trainer.optimizers[0].param_groups)
    state = trainer.optimizers[0].state
    assert {int(state[one]["step"]) for one in head} == {5}
    assert [one for one in later if one in state] == []


def test_one_process_computes_no_gradients_of_later_stages(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    counts, task = CountGradients(), make_task()
    stages = [Stage(["head"], 1, 0.1), Stage(["backbone.layer4"], 1, 0.1)]
    make_trainer(max_epochs=2, callbacks=[counts, StagedUnfreezing(stages)], limit_val_batches=0).fit(task, make_cars())
    of_stage = [len(list(task.get_submodule(one).parameters())) for one in ("head", "backbone.layer4")]
    assert counts.counts == [of_stage[0], sum(of_stage)]


def test_the_stages_are_described() -> None:
    described = StagedUnfreezing(STAGES).describe()
    assert described == {
        "stages": [
            {"modules": ["head"], "epochs": 1, "lr": 1e-3},
            {"modules": ["backbone.layer4"], "epochs": 1, "lr": 5e-4},
            {"modules": ["backbone.layer3", "backbone.layer2"], "epochs": 1, "lr": 1e-4},
        ]
    }
    assert json.loads(json.dumps(described)) == described


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


def test_a_rate_of_the_backbone_is_refused(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    stages = StagedUnfreezing([Stage(["head"], 1, 0.1)])
    with pytest.raises(InputError, match=r"sets the rate of each stage: set model\.backbone_lr_scale: 1 beside it"):
        make_trainer(callbacks=[stages]).fit(make_task(backbone_lr_scale=0.1), make_cars())


def test_statistics_stay_fixed_in_stages_that_learn(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task(freeze="batch_norm_statistics", optimizer="SGD")
    before = {key: value.clone() for key, value in task.backbone.state_dict().items()}
    stages = StagedUnfreezing([Stage(["head", "backbone"], 1, 0.1)])
    make_trainer(callbacks=[stages], limit_val_batches=0).fit(task, make_cars())
    changed = {key for key, value in task.backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert "bn1.weight" in changed
    assert not [key for key in changed if "running" in key or "tracked" in key]


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
  init_args: {{backbone: 'timm:test_resnet', weights: null, image_size: 32, optimizer: SGD}}
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
  gradient_clip_val: {clip}
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
@pytest.mark.parametrize(("on_device", "clip"), [("false", "0.5"), ("true", "null")])
def test_two_processes_stay_together(
    on_device: str, clip: str, drawn_root: Path, make_task: MakeTask, tmp_path: Path
) -> None:
    (tmp_path / "ddp.yaml").write_text(CONFIG.format(root=drawn_root, folder=tmp_path, on_device=on_device, clip=clip))
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

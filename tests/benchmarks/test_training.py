"""Training: our steps against a bare loop, and the reuse of a frozen backbone against doing without."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from lightning import Callback, Trainer
from torch import nn

from carsfg.callbacks import ReuseFrozenBackbone
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.synthetic.dataset import DrawnCars
from carsfg.tasks.classifier import CarClassifier
from tests.benchmarks.conftest import Pair

pytestmark = pytest.mark.measure
WARM, STEPS = 3, 15
SPEC = DrawnCars(classes=12, train=60, test=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cars")


def make_trainer(**arguments: Any) -> Trainer:
    arguments |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(enable_model_summary=False, num_sanity_val_steps=0, **arguments)


class Steps(Callback):
    """Time of the steps after the first few."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if trainer.global_step == WARM:
            self.start = time.perf_counter()
        if trainer.global_step == WARM + STEPS:
            self.seconds = time.perf_counter() - self.start


def test_a_step_costs_what_a_bare_loop_costs(root: Path, benchmark: Any) -> None:
    data = StanfordCarsDataModule(str(root), drawn=SPEC, image_size=224, val="none")
    task = CarClassifier(class_names=data.class_names, backbone="resnet18", weights=None)
    ratios = []
    for _ in range(3):
        watch = Steps()
        make_trainer(max_steps=WARM + STEPS, callbacks=[watch]).fit(task, data)
        ratios.append(watch.seconds / bare_loop())
    device, mark = ("GPU", "1.05") if torch.cuda.is_available() else ("CPU", "1.10")
    info = {"work": f"`fit` step, ResNet-18 at 224, batch 32, {device}", "rival": "a bare PyTorch loop, data in memory"}
    benchmark.extra_info.update(info, mark=f"at most {mark}x its time", ratio=sorted(ratios)[1], device=device)
    benchmark.pedantic(lambda: None)


def bare_loop() -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = torchvision.models.resnet18(num_classes=12).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    images = torch.rand(32, 3, 224, 224).to(device, memory_format=torch.channels_last)
    labels = torch.arange(32, device=device) % 12
    for step in range(WARM + STEPS):
        if step == WARM:
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def test_a_frozen_backbone_runs_once(root: Path, pair: Pair) -> None:
    spec = DrawnCars(classes=12, train=12, test=12)  # train and test of about the same size, as the real ones

    def ten_epochs(*callbacks: Callback) -> None:
        data = StanfordCarsDataModule(str(root), drawn=spec, val="test")
        task = CarClassifier(class_names=data.class_names, backbone="resnet50", weights=None, freeze="backbone")
        make_trainer(max_epochs=10, callbacks=list(callbacks)).fit(task, data)

    work, rival = "frozen ResNet-50 at 224, 10 epochs", "the same without reuse of the backbone's output"
    StanfordCarsDataModule(str(root), drawn=spec).prepare_data()
    pair(work, rival, "8x", lambda: ten_epochs(ReuseFrozenBackbone()), ten_epochs, rounds=1, warm=False)

"""Drawn cars, a small network and a quiet trainer, shared by all tests."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # two processes with two threads each wait for each other most of the time
    os.environ["OMP_NUM_THREADS"] = "1"

import torch
from lightning import Trainer

from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.synthetic.dataset import DrawnCars
from carsfg.tasks.classifier import CarClassifier

TINY_RESNET = "timm:test_resnet"  # layers and names as in ResNet-18, with 0.4 instead of 11 million parameters
DRAWN = DrawnCars(classes=4, train=10, test=5)  # a hold-out of 1 a class: 36 train, 4 validation, 20 test images
NAMES = ["Meridian Lark Wagon 2012", "Dunmore C/V Cargo Van 2012", "Aurora 5 Coupe 2002", "Kestrel Swift Crew Cab 1997"]

MakeCars = Callable[..., StanfordCarsDataModule]
MakeTask = Callable[..., CarClassifier]
MakeTrainer = Callable[..., Trainer]


def pytest_collection_finish() -> None:
    """Spare the garbage collector the objects of all imports, which it would look through again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def drawn_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `StanfordCarsDataModule(root=..., drawn=DRAWN)`, drawn and decoded at 32 pixels already."""
    root = tmp_path_factory.mktemp("drawn")
    StanfordCarsDataModule(root=str(root), drawn=DRAWN, image_size=32).prepare_data()
    return root


@pytest.fixture(scope="session")
def make_cars(drawn_root: Path) -> MakeCars:
    """Makes data modules of the drawn cars, at 32 pixels and 8 images a batch unless told otherwise."""

    def make(**kwargs: Any) -> StanfordCarsDataModule:
        return StanfordCarsDataModule(
            **{"root": str(drawn_root), "drawn": DRAWN, "image_size": 32, "batch_size": 8, "num_workers": 0, **kwargs}
        )

    return make


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    """Makes classifiers of a tiny ResNet, with the same random weights every time."""

    def make(**kwargs: Any) -> CarClassifier:
        torch.manual_seed(0)
        return CarClassifier(
            **{"backbone": TINY_RESNET, "weights": None, "image_size": 32, "class_names": NAMES, **kwargs}
        )

    return make


@pytest.fixture(scope="session")
def make_trainer(tmp_path_factory: pytest.TempPathFactory) -> MakeTrainer:
    """Makes trainers for one epoch on the CPU that print and save nothing unless told otherwise."""

    def make(**kwargs: Any) -> Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        plain = {"enable_model_summary": False, "num_sanity_val_steps": 0, "max_epochs": 1}
        folder = {"default_root_dir": str(tmp_path_factory.mktemp("run"))}
        return Trainer(accelerator="cpu", devices=1, **{**quiet, **plain, **folder, **kwargs})

    return make

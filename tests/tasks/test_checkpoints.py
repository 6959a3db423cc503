import copy
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

import carsfg
from carsfg.errors import InputError
from carsfg.tasks.checkpoints import check_classes, load, read_checkpoint
from carsfg.tasks.classifier import CarClassifier
from tests.conftest import NAMES, TINY_RESNET, MakeCars, MakeTask, MakeTrainer
from tests.models.test_backbones import Hostile

IMAGES = torch.arange(2 * 3 * 32 * 32).remainder(249).view(2, 3, 32, 32).to(torch.uint8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["A", "C", "B"], "the data has 3; first difference at label 1: 'B' and 'C'"),
        (["A", "B"], "the data has 2; first difference at label 2: 'C' and None"),
    ],
)
def test_the_first_class_that_differs_is_named(given: list[str], said: str) -> None:
    check_classes(["A", "B", "C"], ("A", "B", "C"))
    with pytest.raises(InputError, match="the network was trained on 3 classes, " + said):
        check_classes(["A", "B", "C"], given)


@pytest.fixture(scope="module")
def make_task(make_task: MakeTask) -> MakeTask:
    """With the normalisation of timm's own weights, without which a file of weights is refused."""
    return partial(make_task, mean=[0.5] * 3, std=[0.5] * 3)


@pytest.fixture(scope="module")
def trained(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CarClassifier, Path]:
    """A network trained from a weights file that is gone by now, and its checkpoint."""
    tmp_path = tmp_path_factory.mktemp("trained")
    weights = tmp_path / "weights.pt"
    torch.save(
        {
            key.removeprefix("backbone."): v
            for key, v in make_task().state_dict().items()
            if key.startswith("backbone.")
        },
        weights,
    )
    task = make_task(weights=str(weights), dropout=0.5)
    trainer = make_trainer(limit_train_batches=2, limit_val_batches=0)
    trainer.fit(task, make_cars())
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    weights.unlink()
    return task.eval(), tmp_path / "run.ckpt"


@pytest.fixture
def run(trained: tuple[CarClassifier, Path], tmp_path: Path) -> tuple[CarClassifier, Path]:
    """The same, the checkpoint being a copy to do with as one likes."""
    return trained[0], Path(shutil.copy(trained[1], tmp_path))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Rewrite a checkpoint with a change."""
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


def test_the_public_name() -> None:
    assert carsfg.load is load


@pytest.mark.parametrize("how", [load, CarClassifier.load_from_checkpoint])
def test_loads_what_was_trained(how: Callable[[Path], CarClassifier], run: tuple[Any, Path]) -> None:
    task, path = run
    loaded = how(path).eval()
    assert type(loaded) is CarClassifier
    torch.testing.assert_close(loaded(IMAGES), task(IMAGES))
    assert loaded.class_names == NAMES
    assert loaded.hparams["weights"].endswith("weights.pt")
    assert loaded.hparams["dropout"] == 0.5


def test_loaded_network_is_ready_to_use(run: tuple[Any, Path]) -> None:
    loaded = load(str(run[1]))
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(loaded(IMAGES)["logits"], run[0](IMAGES)["logits"])  # bit by bit, being laid out alike


def test_weights_are_read_again_afterwards(run: tuple[Any, Path]) -> None:
    load(run[1])
    CarClassifier.load_from_checkpoint(run[1])
    with pytest.raises(InputError, match="no weights file"):
        CarClassifier(TINY_RESNET, str(run[1].with_name("weights.pt")), class_names=NAMES)


def test_checkpoint_is_read_safely_and_says_its_task(run: tuple[Any, Path]) -> None:
    checkpoint = torch.load(run[1], weights_only=True)
    assert checkpoint["carsfg"]["task"] == "CarClassifier"
    assert checkpoint["hyper_parameters"]["class_names"] == NAMES


def test_a_checkpoint_is_tested_and_resumed(
    run: tuple[Any, Path], make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task, path = run
    fresh = make_task(dropout=0.5)
    make_trainer().test(fresh, make_cars(), ckpt_path=str(path), weights_only=True, verbose=False)
    assert torch.equal(fresh.eval()(IMAGES)["logits"], task(IMAGES)["logits"])
    trainer: Trainer = make_trainer(max_epochs=2)
    trainer.fit(fresh, make_cars(), ckpt_path=str(path), weights_only=True)
    assert trainer.current_epoch == 2


def test_lightning_runs_nothing_either(tmp_path: Path) -> None:
    torch.save({"carsfg": Hostile(tmp_path / "made")}, tmp_path / "a.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        CarClassifier.load_from_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "made").exists()


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path, made = tmp_path / "a.ckpt", tmp_path / "made"
    with pytest.raises(InputError, match=r"no checkpoint .*a\.ckpt"):
        load(path)
    torch.save({"carsfg": Hostile(made)}, path)
    for content in (path.read_bytes(), b"", b"GIF89a", path.read_bytes()[:90]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot read checkpoint .*a\.ckpt: it is damaged"):
            load(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}, "hyper_parameters": {}},  # as other Lightning programs have
        {"carsfg": {"task": "CarClassifier"}},
        {"carsfg": 1},
        [1],
        torch.zeros(1),
    ],
)
def test_foreign_checkpoints(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt is not a carsfg checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["carsfg"].update(task="CarOracle", class_path=""),
            "holds a task 'CarOracle', this version knows CarClassifier",
        ),
        (lambda c: c["carsfg"].update(task=[], class_path=""), "holds a task"),
        (lambda c: c["state_dict"].pop("head.bias"), "does not fit"),
        (lambda c: c["state_dict"].update({"head.bias": torch.zeros(5)}), "does not fit"),
        (lambda c: c["hyper_parameters"].update(colour="red"), "does not fit"),
        (lambda c: c["hyper_parameters"].pop("class_names"), "does not fit"),
    ],
)
def test_checkpoints_of_other_versions(change: Callable[[Any], object], words: str, run: tuple[Any, Path]) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load(changed(run[1], change))
    assert "\n" not in str(caught.value)


def test_start_from_backbone_and_head(run: tuple[Any, Path], make_task: MakeTask) -> None:
    task, path = run
    fresh = make_task(init_from=str(path), weights=str(path.with_name("missing.pt"))).eval()
    torch.testing.assert_close(fresh(IMAGES), task(IMAGES))
    assert fresh.hparams["dropout"] == 0  # the weights come, the recipe does not


def test_start_from_the_backbone_of_other_classes(run: tuple[Any, Path], make_task: MakeTask) -> None:
    task, path = run
    for names in (NAMES[::-1], NAMES[:2]):
        plain, fresh = make_task(class_names=names), make_task(class_names=names, init_from=str(path))
        torch.testing.assert_close(fresh.eval()(IMAGES)["embedding"], task(IMAGES)["embedding"])
        assert torch.equal(fresh.head.weight, plain.head.weight)


def test_a_start_that_does_not_fit(run: tuple[Any, Path], make_task: MakeTask) -> None:
    words = r"cannot start from .*run\.ckpt: its backbone \(timm:test_resnet\) does not have the shape of this network"
    with pytest.raises(InputError, match=words):
        make_task(backbone="squeezenet1_1", init_from=str(run[1]))
    with pytest.raises(InputError, match=r"no checkpoint .*gone\.ckpt"):
        make_task(init_from=str(run[1].with_name("gone.ckpt")))


def test_a_started_run_loads_without_its_start(run: tuple[Any, Path], make_task: MakeTask) -> None:
    first = run[1]
    task = make_task(init_from=str(first)).eval()
    second = first.with_name("second.ckpt")
    checkpoint = torch.load(first, weights_only=True)
    own = {"state_dict": copy.deepcopy(task.state_dict()), "hyper_parameters": dict(task.hparams)}
    torch.save({**checkpoint, **own}, second)
    first.unlink()
    for loaded in (load(second), CarClassifier.load_from_checkpoint(second).eval()):
        torch.testing.assert_close(loaded(IMAGES), task(IMAGES))


@pytest.mark.parametrize(("earlier", "now"), [(True, "backbone"), (False, "none")])
def test_a_checkpoint_from_before_freeze_had_three_values(
    earlier: bool, now: str, trained: tuple[CarClassifier, Path], tmp_path: Path
) -> None:
    checkpoint = torch.load(trained[1], weights_only=True)
    checkpoint["hyper_parameters"]["freeze"] = earlier
    torch.save(checkpoint, tmp_path / "earlier.ckpt")
    assert load(tmp_path / "earlier.ckpt").describe()["freeze"] == now

"""Images that live on the device give the batches that a loader would give."""

from typing import Any
from unittest.mock import Mock

import pytest
import torch

from carsfg.data import loaders
from carsfg.data.gpu_loader import ResidentLoader, fits
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def ready(make_cars: MakeCars, **arguments: Any) -> StanfordCarsDataModule:
    data = make_cars(**arguments)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"augment": "crop_flip_rotate"},
        {"augment": "crop_flip_jitter"},
        {"box_jitter": 0.2},
        {"augment": "crop_flip_rotate", "box_jitter": 0.2},
    ],
)
def test_the_same_batches(arguments: dict[str, Any], make_cars: MakeCars) -> None:
    plain = ready(make_cars, on_device=False, **arguments).train_dataloader()
    resident = ready(make_cars, on_device=True, **arguments).train_dataloader()
    assert isinstance(resident, ResidentLoader)
    assert len(plain) == len(resident)
    for expected, got in zip(plain, resident, strict=True):
        assert torch.equal(expected["label"], got["label"])
        assert torch.equal(expected["index"], got["index"])
        difference = (expected["image"].float() - got["image"].float()).abs()
        assert difference.mean() < (1.5 if arguments else 1e-9)  # rounding, and the black corners' edges


def test_moving_boxes_leave_evaluation_on_the_device_alone(make_cars: MakeCars) -> None:
    moving, still = (ready(make_cars, on_device=True, box_jitter=share) for share in (0.2, 0.0))
    train = next(iter(moving.train_dataloader()))["image"]
    for expected, got in zip(still.test_dataloader()[0], moving.test_dataloader()[0], strict=True):
        assert torch.equal(expected["image"], got["image"])
    assert torch.equal(train, next(iter(moving.train_dataloader()))["image"])


def test_a_new_epoch_is_drawn_anew(make_cars: MakeCars) -> None:
    loader = ready(make_cars, on_device=True, augment="crop_flip_rotate").train_dataloader()
    first = next(iter(loader))
    assert torch.equal(first["image"], next(iter(loader))["image"])
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert not torch.equal(first["index"], next(iter(loader))["index"])


def test_evaluation_sees_all_images_once(make_cars: MakeCars) -> None:
    data = ready(make_cars, on_device=True)
    (loader,) = data.test_dataloader()
    assert torch.cat([batch["index"] for batch in loader]).tolist() == list(range(len(data.splits.test)))


def test_lightning_trains_validates_tests_and_predicts_on_them(
    make_cars: MakeCars, make_task: MakeTask, make_trainer: MakeTrainer
) -> None:
    figures = []
    for on_device in (False, True):
        task, data = make_task(), make_cars(on_device=on_device)
        trainer = make_trainer(max_epochs=2, num_sanity_val_steps=1)
        trainer.fit(task, data)
        told = {key: float(value) for key, value in trainer.callback_metrics.items()}
        trainer.test(task, data, verbose=False)
        told |= {key: float(value) for key, value in trainer.callback_metrics.items()}
        batches: Any = trainer.predict(task, data)
        assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(20))
        figures.append(told)
    assert {"train/loss", "val/loss", "test/loss"} <= set(figures[0])
    assert figures[1] == pytest.approx(figures[0], rel=1e-4)


def test_images_that_are_there_stay(make_cars: MakeCars) -> None:
    """However little room is left beside them: validation must not go back to the cache because training has begun."""
    data = ready(make_cars, on_device=True)
    assert isinstance(data.train_dataloader(), ResidentLoader)
    data.on_device = "auto"  # would say no
    assert isinstance(data.test_dataloader()[0], ResidentLoader)


def test_without_a_gpu_images_stay_in_the_cache(make_cars: MakeCars) -> None:
    assert not isinstance(ready(make_cars).train_dataloader(), ResidentLoader)


def test_the_wide_images_share_the_half_of_the_memory(make_cars: MakeCars, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = ready(make_cars).caches
    own, gpu = train.images.nbytes, torch.device("cuda")
    for free, room in ((2 * own, False), (3 * own, True)):  # for as many bytes again
        monkeypatch.setattr(torch.cuda, "mem_get_info", Mock(return_value=(free, 100 * own)))
        assert fits([train], gpu)
        assert fits([train], gpu, resident_bytes=own) == room
    asked = Mock(return_value=True)
    monkeypatch.setattr(loaders, "fits", asked)
    monkeypatch.setattr(loaders, "upload", Mock(return_value=torch.from_numpy(train.images.copy())))
    factory = loaders.LoaderFactory(8, 0, "auto")
    for cache in (train, test, train):
        factory._resident([cache], gpu)
    assert [call.args[2] for call in asked.mock_calls] == [0, own]

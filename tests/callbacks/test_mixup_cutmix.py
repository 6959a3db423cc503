"""Mixup and CutMix of batches, checked by pixels that tell where they come from."""

from typing import Any

import pytest
import torch
from torch import Tensor

from carsfg.callbacks.mixup_cutmix import MixupCutmix
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def batch() -> dict[str, Tensor]:
    """Four images of one colour each, 0, 60, 120, 180, labelled 0..3."""
    labels = torch.arange(4)
    images = (60 * labels).to(torch.uint8).view(4, 1, 1, 1).expand(4, 3, 8, 8).clone()
    return {"image": images, "label": labels, "index": labels}


def mixed(make_task: MakeTask, make_trainer: MakeTrainer, seed: int = 0, **kwargs: Any) -> dict[str, Tensor]:
    task, trainer, one = make_task(), make_trainer(), batch()
    mix = MixupCutmix(**kwargs)
    mix.setup(trainer, task, "fit")
    torch.manual_seed(seed)
    mix.on_train_batch_start(trainer, task, one, 0)
    return one


def test_mixup_blends_images_as_it_blends_labels(make_task: MakeTask, make_trainer: MakeTrainer) -> None:
    one = mixed(make_task, make_trainer, mixup=1.0, cutmix=0)
    assert one["label"].shape == (4, 4)
    assert torch.equal(one["label"].sum(1), torch.ones(4))
    assert (one["label"] > 0).sum(1).tolist() == [2, 2, 2, 2]
    expected = one["label"] @ torch.tensor([0.0, 60, 120, 180])  # what the shares make of the colours
    torch.testing.assert_close(one["image"], expected.view(4, 1, 1, 1).expand(4, 3, 8, 8))


def test_cutmix_pastes_as_much_as_the_labels_say(make_task: MakeTask, make_trainer: MakeTrainer) -> None:
    one = mixed(make_task, make_trainer, seed=1, mixup=0, cutmix=1.0)
    for place in range(4):
        shares = torch.tensor([(one["image"][place] == 60 * label).float().mean() for label in range(4)])
        torch.testing.assert_close(shares, one["label"][place])
    assert 0 < one["label"].diag().min() < 1


def test_share_zero_leaves_all_as_it_is(make_task: MakeTask, make_trainer: MakeTrainer) -> None:
    one = mixed(make_task, make_trainer, share=0.0)
    assert all(torch.equal(one[key], value) for key, value in batch().items())


def test_a_task_learns_from_blends_until_told(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    seen: list[int] = []
    task = make_task(label_smoothing=0.1)
    step = task.training_step

    def watch(batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        seen.append(batch["label"].ndim)
        return step(batch, batch_idx)

    task.training_step = watch  # type: ignore[method-assign]
    mix = MixupCutmix(until_epoch=1)
    trainer = make_trainer(max_epochs=2, limit_train_batches=2, callbacks=[mix])
    trainer.fit(task, make_cars())
    assert seen == [2, 2, 1, 1]
    assert 0 <= trainer.callback_metrics["train/top1"] <= 1


@pytest.mark.parametrize("kwargs", [{"share": 2.0}, {"mixup": -1.0}, {"mixup": 0, "cutmix": 0}])
def test_numbers_out_of_range(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="MixupCutmix: share must be in"):
        MixupCutmix(**kwargs)


def test_features_cannot_be_blended(make_task: MakeTask, make_trainer: MakeTrainer) -> None:
    mix = MixupCutmix()
    with pytest.raises(InputError, match="MixupCutmix needs images"):
        mix.on_train_batch_start(make_trainer(), make_task(), {"feature": torch.zeros(1, 2)}, 0)


def test_the_arguments_are_described() -> None:
    described = MixupCutmix(share=0.5, until_epoch=3).describe()
    assert described == {"share": 0.5, "mixup": 0.2, "cutmix": 1.0, "until_epoch": 3}

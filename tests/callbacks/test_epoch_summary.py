import re

import pytest

from carsfg.callbacks.epoch_summary import EpochSummary
from tests.conftest import MakeCars, MakeTask, MakeTrainer


@pytest.mark.parametrize("val", ["holdout", "none"])
def test_a_line_an_epoch(
    val: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(max_epochs=2, callbacks=[EpochSummary()])
    trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars(val=val))
    lines = capsys.readouterr().out.splitlines()
    validated = r"  val loss \d+\.\d{4}  val top1 \d+\.\d\d %" if val == "holdout" else ""
    for epoch, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch {epoch}/2  train loss \d+\.\d{{4}}  train top1 \d+\.\d\d %{validated}  \d+ s", line
        )
    assert len(lines) == 2
    assert f"train loss {float(trainer.callback_metrics['train/loss']):.4f}" in lines[-1]


def test_old_validation_metrics_are_not_printed_again(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(
        max_epochs=5,
        callbacks=[EpochSummary()],
        check_val_every_n_epoch=2,
        num_sanity_val_steps=1,
        limit_train_batches=1,
    )
    trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars())
    lines = capsys.readouterr().out.splitlines()
    assert ["val" in line for line in lines] == [False, True, False, True, False]


def test_a_run_without_a_number_of_epochs(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(max_epochs=-1, max_steps=1, callbacks=[EpochSummary()], limit_val_batches=0)
    trainer.fit(make_task(backbone="squeezenet1_1", freeze="backbone"), make_cars())
    assert capsys.readouterr().out.startswith("epoch 1  train loss ")

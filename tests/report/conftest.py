"""Finished runs, written by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from carsfg.run_record import RETRIEVAL, RunRecord

TASK = {"backbone": "resnet50", "freeze": "backbone", "image_size": 224, "lr": 0.001}
DATA = {
    "name": "Stanford Cars", "protocol": "official", "val": "test", "retrieval": "closed_loo", "split_hash": "abc",
    "test_images": 16,
}  # fmt: skip
TRAINER = {"max_epochs": 2, "max_steps": -1, "limit_test_batches": 1.0, "precision": "32-true"}
CURVES = """epoch,step,train/top1,train/loss,val/top1,val/loss,test/top1,test/f1_weighted,test/loss
0,10,0.1,4.0,,,,,
0,10,,,0.2,3.5,,,
1,20,0.5,2.0,,,,,
1,20,,,0.4,2.5,,,
2,20,,,,,{top1},0.41,2.25
"""
CONFUSIONS = """class,predicted,images
Audi S4 Sedan 2007,Audi S4 Sedan 2007,6
Audi S4 Sedan 2007,Audi S4 Sedan 2012,3
Audi S4 Sedan 2007,Audi S4 Convertible 2007,1
Audi S4 Sedan 2012,Audi S4 Sedan 2012,8
Audi S4 Sedan 2012,BMW M3 Sedan 2012,2
BMW M3 Sedan 2012,BMW M3 Sedan 2012,5
BMW M3 Sedan 2012,BMW X5 SUV 2007,4
BMW M3 Sedan 2012,Ram C/V Cargo Van Minivan 2012,1
"""
MakeRun = Callable[..., Path]


def record_of(experiment: str, task_class: str = "carsfg.tasks.classifier.CarClassifier", **values: Any) -> RunRecord:
    """A record; each further value goes to the block that has its key, or else to the record itself."""
    blocks = [{key: values.pop(key, default) for key, default in block.items()} for block in (TASK, DATA, TRAINER)]
    task, data, trainer = blocks
    if "data_name" in values:  # other images have another hash
        data |= {"name": values["data_name"], "split_hash": f"of {values.pop('data_name')}"}
    metric = values.pop("metric", None)
    callbacks = values.pop("callbacks", {}) | ({} if metric is None else {RETRIEVAL: {"metric": metric}})
    made: dict[str, Any] = {"hardware": "1 x CPU", "versions": "carsfg 0.2.0", "scored_images": 16} | values
    return RunRecord(experiment, {"class_path": task_class} | task, data, trainer=trainer, callbacks=callbacks, **made)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run into `logs/NAME`; values are those of `record_of`.

    The experiment is the first part of NAME; `files` are further texts by file name.
    """

    def make(
        name: str = "tl_exp1/version_0",
        top1: float = 0.425,
        confusions: str = CONFUSIONS,
        files: Mapping[str, str] | None = None,
        metrics: str | None = None,
        **values: Any,
    ) -> Path:
        folder = tmp_path / "logs" / name
        record_of(values.pop("experiment", name.partition("/")[0]), **values).write(folder)
        (folder / "metrics.csv").write_text(CURVES.format(top1=top1) if metrics is None else metrics)
        if confusions:
            (folder / "confusions.csv").write_text(confusions)
        for file, text in (files or {}).items():
            (folder / file).write_text(text)
        return tmp_path / "logs"

    return make

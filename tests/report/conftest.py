"""Finished runs, written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

STAMP = {
    "backbone": "resnet50", "freeze": True, "protocol": "official", "val": "test", "data": "Stanford Cars",
    "retrieval": "closed_loo", "image_size": 224, "chosen_on": "last epoch", "seed": 0, "hardware": "1 x CPU",
    "versions": "carsfg 0.1.0",
}  # fmt: skip
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


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run into `logs/NAME`, with a stamp and other files as they are given."""

    def make(name: str = "tl_exp1/version_0", top1: float = 0.425, confusions: str = CONFUSIONS, **stamp: Any) -> Path:
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        (folder / "hparams.yaml").write_text(yaml.safe_dump({**STAMP, **stamp}))
        (folder / "metrics.csv").write_text(CURVES.format(top1=top1))
        if confusions:
            (folder / "confusions.csv").write_text(confusions)
        return tmp_path / "logs"

    return make

"""The reference runs: curves and figures, and nothing of the machines or photographs they were made of."""

import re
from pathlib import Path

import pytest
import yaml

from tests.reference import EVENTS, REFERENCE, events

RUNS = sorted(path.parent for path in REFERENCE.rglob("metrics.csv"))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_a_reference_run(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert not [path for path in files if path.suffix in (".ckpt", ".pt") or re.search(r"tfevents\.\d{9}", path.name)]
    for name in ("config.yaml", "hparams.yaml"):
        if (run / name).exists():
            assert not re.search(r"(?<![\w.])/\w|[A-Z]:\\", (run / name).read_text()), "a folder of some machine"
    assert list(run.glob("events.out.tfevents.*")) == [run / EVENTS]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_its_events(run: Path) -> None:
    found = list(events(run))
    tags = {value.tag for event in found for value in event.summary.value}
    pictures = {value.tag for event in found for value in event.summary.value if value.HasField("image")}
    assert tags & {"train/loss", "test/top1"}
    stamp = yaml.safe_load((run / "hparams.yaml").read_text()) if (run / "hparams.yaml").exists() else {}
    if stamp.get("data") != "drawn cars":
        assert all(tag.endswith("/confusion_matrix") for tag in pictures), "photographs are not ours to show"

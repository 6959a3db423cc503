"""The reference runs: records, curves and figures; no photographs, no host names, no folders of a machine."""

import re
from pathlib import Path

import pytest
import yaml

from carsfg.class_paths import class_path, import_class
from carsfg.cli import main
from carsfg.run_record import RunRecord
from tests.reference import EVENTS, REFERENCE, events

RUNS = sorted(path.parent for path in REFERENCE.rglob("metrics.csv"))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_a_reference_run(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert not [path for path in files if path.suffix in (".ckpt", ".pt") or re.search(r"tfevents\.\d{9}", path.name)]
    for name in ("config.yaml", "run_record.json"):
        assert not re.search(r"(?<![\w.])/\w|[A-Z]:\\", (run / name).read_text()), "a folder of some machine"
    assert list(run.glob("events.out.tfevents.*")) == [run / EVENTS]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_its_events(run: Path) -> None:
    found = list(events(run))
    tags = {value.tag for event in found for value in event.summary.value}
    pictures = {value.tag for event in found for value in event.summary.value if value.HasField("image")}
    assert tags & {"train/loss", "test/top1"}
    if RunRecord.read(run).is_stanford_cars:
        assert all(tag.endswith("/confusion_matrix") for tag in pictures), "photographs are not ours to show"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_its_record_is_that_of_its_config(run: Path) -> None:
    record, config = RunRecord.read(run), yaml.safe_load((run / "config.yaml").read_text())
    for block, described in (("model", record.task), ("data", record.data)):
        assert described["class_path"] == class_path(import_class(config[block]["class_path"]))
        given = config[block]["init_args"]
        assert {key: given[key] for key in described if key in given} == {
            key: value for key, value in described.items() if key in given
        }
    callbacks = [class_path(import_class(one["class_path"])) for one in config["trainer"]["callbacks"] or []]
    assert sorted(record.callbacks) == sorted(callbacks)
    assert (record.trainer["max_epochs"], record.seed) == (config["trainer"]["max_epochs"], config["seed_everything"])
    assert record.experiment == run.relative_to(REFERENCE).parts[0]


def test_three_seeds_are_repetitions() -> None:
    records = [RunRecord.read(REFERENCE / f"tl_exp1/mobilenet_v2/seed_{seed}") for seed in range(3)]
    assert len({record.recipe_hash for record in records}) == 1
    assert [record.seed for record in records] == [0, 1, 2]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(REFERENCE)))
def test_its_config_is_parsed(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REFERENCE)
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path=missing.ckpt"]) == 2
    assert "missing.ckpt" in capsys.readouterr().err

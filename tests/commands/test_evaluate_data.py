"""`carsfg evaluate` scores on the data of the run, with its settings, whichever DataModule and task they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.record_run import RecordRun
from carsfg.cli import main
from carsfg.run_record import RunRecord
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, MakeCars, MakeTrainer

OWN = '''
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

import carsfg


class Noise(Dataset):
    """Images whose colour tells their class, of four classes in turn."""

    def __init__(self, count, bright):
        self.count, self.bright = count, bright

    def __len__(self):
        return self.count

    def __getitem__(self, place):
        image = torch.zeros(3, 40, 40, dtype=torch.uint8)
        image[place % 4 % 3] = self.bright if place % 4 < 3 else 255
        return {"image": image + place, "label": place % 4, "index": place}


class Colours(LightningDataModule):
    def __init__(self, bright: int = 200, train: bool = True):
        super().__init__()
        self.bright = bright

    def train_dataloader(self):
        return DataLoader(Noise(22, self.bright), batch_size=4, shuffle=True, drop_last=True)

    def test_dataloader(self):
        return DataLoader(Noise(9, self.bright), batch_size=4)


class TestOnly(LightningDataModule):
    def test_dataloader(self):
        return DataLoader(Noise(9, 200), batch_size=4)


class Tuples(LightningDataModule):
    def test_dataloader(self):
        return [(torch.zeros(2, 3, 40, 40, dtype=torch.uint8), torch.zeros(2))]


class Cubed(carsfg.CarCNN):
    def project(self, feature):
        return feature**3
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `own_cars` in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("own_cars.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_cars  # type: ignore[import-not-found]

    yield own_cars
    monkeypatch.delitem(__import__("sys").modules, "own_cars")


def checkpoint(record: RunRecord, task: Any = None) -> str:
    torch.manual_seed(0)
    save_network(task or CarCNN(class_names=NAMES, widths=[4, 8], image_size=32), "run.ckpt", record)
    return "run.ckpt"


def evaluate(*words: str) -> dict[str, Any]:
    assert main(["evaluate", *words, "--device=cpu", "--json=e.json"]) == 0
    found: dict[str, Any] = json.loads(Path("e.json").read_text())
    found["by"] = {(row["protocol"], row["score"]): row for row in found["rows"] if row["images"] == "all images"}
    return found


def test_settings_of_the_run(
    drawn_root: Path,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Margin, stored size and metric are those of training, as `carsfg test` has them, unless an option says else."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data, task = (
        {"margin": 0.5, "image_size": 48, "val": "none"},
        CarCNN(class_names=NAMES, widths=[4, 8], image_size=32),
    )
    retrieval = FaissRetrieval(metric="euclidean", knn=[10])
    trainer = make_trainer(callbacks=[RecordRun(), retrieval], limit_val_batches=0)
    trainer.fit(task, make_cars(**data))
    trainer.save_checkpoint("run.ckpt")
    capsys.readouterr()
    found = evaluate("run.ckpt", f"--data.root={drawn_root}", "--precision=32-true")
    err = capsys.readouterr().err
    assert "learned from" not in err
    line = err.splitlines()[0]
    drawn = "drawn {classes: 4, train: 10, test: 5, seed: 0}"
    assert line == f"from the run: {drawn}, crop true, margin 0.5, 48 px, official, euclidean, 32-true"
    tested = make_trainer(callbacks=[retrieval])
    tested.test(task, make_cars(**data), verbose=False)
    assert found["by"]["closed_loo", "map"]["value"] == pytest.approx(
        float(tested.callback_metrics["test/retrieval/map"]), abs=1e-6
    )
    changed = evaluate("run.ckpt", f"--data.root={drawn_root}", "--data.margin=0", "--metric=cosine")
    assert "changed: margin 0.0 instead of 0.5, cosine instead of euclidean" in capsys.readouterr().err
    assert (changed["metric"], changed["record"]["data"]["margin"]) == ("cosine", 0.0)
    assert changed["by"]["closed_loo", "map"]["value"] != found["by"]["closed_loo", "map"]["value"]
    evaluate("run.ckpt", f"--data.root={drawn_root}", "--data.crop=false")
    line = "the images are whole photos, but this network learned from box crops: expect worse results"
    assert line in capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("own")
def test_a_datamodule_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"class_path": "own_cars.Colours", "name": "Colours", "bright": 90}
    found = evaluate(checkpoint(RunRecord(data=data)))
    assert found["data"] == "Colours"
    official, among = found["by"]["official", "knn_10"], found["by"]["closed_loo", "top_1"]
    assert (official["queries"], official["gallery"], among["gallery"]) == (9, 22, 8)  # the last batch, too
    assert found["by"]["closed_train_gallery", "top_1"]["value"] == 1
    assert found["record"]["data"]["bright"] == 90
    out = " ".join(capsys.readouterr().out.split())
    assert "the files are not known, so duplicates are not left out" in out
    assert evaluate("run.ckpt", "--data.bright=10")["record"]["data"]["bright"] == 10


@pytest.mark.usefixtures("own")
def test_a_datamodule_without_training_images() -> None:
    found = evaluate(checkpoint(RunRecord(data={"class_path": "own_cars.TestOnly"})))
    assert {row["protocol"] for row in found["rows"]} == {"closed_loo"}


def test_a_task_of_ones_own(own: Any) -> None:
    torch.manual_seed(0)
    task = own.Cubed(class_names=NAMES, widths=[4, 8], image_size=32)
    found = evaluate(checkpoint(RunRecord(data={"class_path": "own_cars.Colours"}), task))
    assert found["task"] == "Cubed"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "words", "said"),
    [
        ("own_cars.Colors", [], "the class 'own_cars.Colors' cannot be imported"),
        ("nowhere.Cars", [], "the class 'nowhere.Cars' cannot be imported"),
        ("own_cars.Tuples", [], "a batch must be a dict with 'image' and 'label', not Tensor"),
        ("own_cars.Colours", ["--data.brigt=1"], "unknown option '--data.brigt' (did you mean '--data.bright'?)"),
        ("own_cars.Colours", ["--data.bright=very"], "bright 'very' is not an integer"),
    ],
)
def test_mistakes(path: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", checkpoint(RunRecord(data={"class_path": path})), *words, "--device=cpu"]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("carsfg: error: "))
    assert said in line

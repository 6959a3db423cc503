"""`carsfg evaluate`: its figures are those of a test, for any task and protocol, and mistakes are told in one line."""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.record_run import RecordRun
from carsfg.cli import main as carsfg_main
from carsfg.run_record import RunRecord
from carsfg.tasks.checkpoints import read_record
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

DRAWN_WORD = "--data.drawn={classes: 4, train: 10, test: 5}"
RANKED = ("top_1", "top_5", "top_10", "precision_10", "r_precision", "map_at_r", "map")
Trained = Callable[..., tuple[Any, str]]


@pytest.fixture(scope="module")
def trained(make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains a task for an epoch; gives it and its checkpoint."""

    def train(task: Any = None, recorded: bool = True, **data: Any) -> tuple[Any, str]:
        torch.manual_seed(0)
        task = task or CarCNN(class_names=NAMES, widths=[8, 16], image_size=32, lr=0.01)
        trainer = make_trainer(callbacks=[RecordRun()] if recorded else [], limit_val_batches=0)
        trainer.fit(task, make_cars(**{"val": "none", **data}))
        path = tmp_path_factory.mktemp("run") / "run.ckpt"
        trainer.save_checkpoint(path)
        return task, str(path)

    return train


@pytest.fixture(scope="module")
def plain(trained: Trained) -> tuple[Any, str]:
    return trained()


@pytest.fixture
def evaluate(drawn_root: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Evaluates a checkpoint on the drawn cars; gives what the JSON says, figures by images, protocol and name."""

    def run(path: str, *words: str) -> dict[str, Any]:
        file = tmp_path / "evaluation.json"
        given = [path, f"--data.root={drawn_root}", "--device=cpu", f"--json={file}", *words]
        assert carsfg_main(["evaluate", *given]) == 0
        found: dict[str, Any] = json.loads(file.read_text())
        found["by"] = {(row["images"], row["protocol"], row["score"]): row for row in found["rows"]}
        return found

    return run


Evaluate = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_figures_of_a_test(
    metric: str, plain: tuple[Any, str], evaluate: Evaluate, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task, path = plain
    found = evaluate(path, f"--metric={metric}", "--knn=3")
    for protocol in ("closed_train_gallery", "closed_loo"):
        trainer = make_trainer(callbacks=[FaissRetrieval(metric=metric, knn=[3])])  # type: ignore[arg-type]
        trainer.test(task, make_cars(val="none", retrieval=protocol), verbose=False)
        tested = {key.removeprefix("test/"): float(value) for key, value in trainer.callback_metrics.items()}
        for figure in RANKED:
            row = found["by"]["all images", protocol, figure]
            assert row["value"] == pytest.approx(tested[f"retrieval/{figure}"], abs=1e-6)
            assert row["low"] <= row["value"] <= row["high"]
            assert (row["queries"], row["left_out"]) == (20, 0)
        if protocol == "closed_train_gallery":
            assert found["by"]["all images", "official", "knn_3"]["value"] == pytest.approx(tested["retrieval/knn_3"])
        assert found["by"]["all images", "official", "head_top_1"]["value"] == pytest.approx(tested["top1"])
    assert found["by"]["all images", "closed_loo", "map"]["gallery"] == 19
    assert found["by"]["all images", "closed_train_gallery", "map"]["gallery"] == 40
    assert len(found["rows"]) == 2 * (3 + 2 * len(RANKED))


def test_what_the_json_says(plain: tuple[Any, str], evaluate: Evaluate) -> None:
    found = evaluate(plain[1])
    expected: dict[str, Any] = {"checkpoint": plain[1], "task": "CarCNN", "protocol": "official", "data": "drawn cars"}
    expected |= {"metric": "cosine", "knn": 10, "interval": 0.95, "precision": "32-true"}
    expected |= {"image_size": 32, "batch_size": 64, "unknown_start": None}
    assert {key: found[key] for key in expected} == expected
    record, trained = RunRecord.from_dict(found["record"]), read_record(plain[1])
    assert found["split_hash"] == record.data["split_hash"] == trained.data["split_hash"]
    assert (record.task, record.seed, record.metric, record.scored_images) == (trained.task, trained.seed, "cosine", 20)
    assert found["probe_strength"] in (1, 0.1, 0.01, 0.001)
    assert found == evaluate(plain[1])  # to the last bit


def test_duplicates_are_left_out_as_counted_by_hand(
    plain: tuple[Any, str], evaluate: Evaluate, drawn_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0/stanford_cars")
    files = {split: sorted((folder / f"cars_{split}").glob("*.jpg")) for split in ("train", "test")}
    digests = {split: [hashlib.sha256(file.read_bytes()).digest() for file in files[split]] for split in files}
    everything = digests["train"] + digests["test"]
    left = {split: sum(everything.count(one) == 1 for one in digests[split]) for split in digests}
    assert left == {"train": 39, "test": 19}
    found = evaluate(plain[1])
    assert found["duplicates"] == {"train": 1, "test": 1}
    without = {key[1:]: row for key, row in found["by"].items() if key[0] == "without duplicates"}
    assert {row["queries"] for row in without.values()} == {19}
    assert without["closed_train_gallery", "top_1"]["gallery"] == without["official", "linear_probe"]["gallery"] == 39
    assert without["closed_loo", "top_1"]["gallery"] == 18
    assert "1 of train, 1 of test are left out" in " ".join(capsys.readouterr().out.split())


def test_images_without_duplicates_are_scored_as_if_they_were_not_there(
    plain: tuple[Any, str], evaluate: Evaluate
) -> None:
    """One wrong twin in 20 queries moves the head's accuracy from 19 to 20 parts."""
    found = evaluate(plain[1])
    whole, part = (found["by"][images, "official", "head_top_1"] for images in ("all images", "without duplicates"))
    assert round(whole["value"] * 20, 6) - round(part["value"] * 19, 6) in (0, 1)


@pytest.mark.parametrize("kind", ["classifier", "extractor"])
def test_any_task(kind: str, trained: Trained, make_task: MakeTask, evaluate: Evaluate) -> None:
    arguments: dict[str, Any] = {"widths": [8, 16], "image_size": 32}
    if kind == "extractor":
        arguments = {"backbone": "custom_cnn", "backbone_args": arguments, "image_size": 32, "weights": None}
        task: Any = EmbeddingExtractor(class_names=NAMES, projection=6, normalize=True, **arguments)
    else:
        task = make_task(backbone="squeezenet1_1")
    found = evaluate(trained(task)[1])
    assert found["task"] == type(task).__name__
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in found["rows"])


def test_the_leaky_protocol_is_scored_on_honest_images(
    trained: Trained, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(trained(protocol="seed_leaky", val="holdout", augment="crop_flip_rotate")[1])
    assert {row["protocol"] for row in found["rows"]} == {"official", "closed_train_gallery", "closed_loo"}
    assert "the scores above are of test images" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("recorded", [True, False])
def test_zero_shot(
    recorded: bool,
    trained: Trained,
    evaluate: Evaluate,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    half = CarCNN(class_names=NAMES[:2], widths=[8, 16], image_size=32)
    task, path = trained(half, recorded, protocol="zero_shot")
    found = evaluate(path, "--precision=32-true", *([] if recorded else [DRAWN_WORD]))
    assert {row["protocol"] for row in found["rows"]} == {"zero_shot"}
    trainer = make_trainer(callbacks=[FaissRetrieval()])
    trainer.test(task, make_cars(protocol="zero_shot", val="none"), verbose=False)
    for figure in RANKED:
        row = found["by"]["all images", "zero_shot", figure]
        assert row["value"] == pytest.approx(float(trainer.callback_metrics[f"test/retrieval/{figure}"]), abs=1e-6)
        assert (row["queries"], row["gallery"]) == (30, 29)
    out = " ".join(capsys.readouterr().out.split())
    assert "no head no k-NN and no linear probe either" in out
    assert ("trained no run record" in out) is not recorded


def test_a_network_without_record(trained: Trained, evaluate: Evaluate) -> None:
    found = evaluate(trained(recorded=False)[1], DRAWN_WORD)
    assert found["protocol"] == "official"
    assert found["trained"] == {}


def test_no_zero_shot_figure_where_the_test_classes_were_learned(
    plain: tuple[Any, str],
    trained: Trained,
    evaluate: Evaluate,
    drawn_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start = tmp_path / "start.ckpt"
    start.write_bytes(Path(plain[1]).read_bytes())
    half = CarCNN(class_names=NAMES[:2], widths=[8, 16], image_size=32, init_from=str(start))
    _, path = trained(half, protocol="zero_shot")
    assert (
        carsfg_main(["evaluate", path, f"--data.root={drawn_root}", "--data.drawn={classes: 4, train: 10, test: 5}"])
        == 2
    )
    err = capsys.readouterr().err
    assert "initialised from start.ckpt, which knows 4 classes, some of them to be tested: no protocol applies\n" in err
    start.unlink()
    assert evaluate(path)["unknown_start"] == "start.ckpt"
    assert "initialised from start.ckpt, which is missing" in " ".join(capsys.readouterr().out.split())


def test_nothing_to_find_is_null(plain: tuple[Any, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        f"--data.root={tmp_path}",
        "--data.drawn={classes: 4, train: 3, test: 1}",
        "--device=cpu",
        f"--json={tmp_path}/e.json",
    ]
    assert carsfg_main(["evaluate", plain[1], *words]) == 0
    rows = json.loads((tmp_path / "e.json").read_text())["rows"]
    alone = [row for row in rows if row["protocol"] == "closed_loo"]
    assert {(row["value"], row["low"], row["queries"]) for row in alone} == {(None, None, 0)}
    assert not any(math.isnan(row["value"]) for row in rows if row["value"] is not None)
    out = " ".join(capsys.readouterr().out.split())
    assert "queries left out: 4 in closed_loo, all images; 3 in closed_loo, without duplicates" in out
    assert "differ from those of training" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.ckpt"], "no checkpoint missing.ckpt"),
        (["broken.ckpt"], "cannot read checkpoint broken.ckpt: "),
        (
            ["CKPT", "--data.drawn={classes: 3, train: 4, test: 2}"],
            "the network was trained on 4 classes, the data has 3",
        ),
        (["CKPT", "--data.drawn=null"], "data/stanford_cars"),
        (["CKPT", "--data.drawn=null"], "(trained on drawn cars; --data.root names its folder)"),
        (["UNRECORDED"], "no Stanford Cars data in data/stanford_cars"),
        (["CKPT", "--data.drawn={clases: 4}"], "in the data block: unknown key 'clases'"),
        (
            ["CKPT", "--data.drawn={classes: 4, train: 0, test: 1}"],
            "drawn cars: '0' is out of range for train; use 1 to 10000",
        ),
        (["CKPT", "--data.rot=x"], "unknown option '--data.rot' (did you mean '--data.root'?)"),
        (["CKPT", "--data.margin=wide"], "data.margin 'wide' is not a number"),
        (["CKPT", "--data.val=maybe"], "val 'maybe' is not one of 'holdout', 'test', 'none'"),
        (["CKPT", "--metric=manhattan"], "metric 'manhattan' is not one of 'cosine', 'euclidean'"),
        (["CKPT", "--precision=16"], "precision '16' is not one of '32-true', 'bf16-mixed'"),
        (["CKPT", "--knn=0"], "--knn 0 must be 1 or more"),
        (["CKPT", "--batch_size=0"], "--batch_size 0 must be 1 or more"),
        (["CKPT", "--device=toaster"], "device 'toaster' is not available on this machine"),
        (["CKPT", "--json=nowhere/e.json"], "cannot write 'nowhere/e.json': the folder does not exist"),
        (["CKPT", "--root=x"], "unknown option '--root' (did you mean '--data.root'?)"),
        ([], "the following arguments are required: checkpoint; see `carsfg evaluate --help`"),
        (["STRANGE"], "the run record is damaged"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    plain: tuple[Any, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.ckpt").write_bytes(Path(plain[1]).read_bytes()[:5000])
    checkpoint = torch.load(plain[1], weights_only=True)
    for name, change in (("STRANGE", {"record": {"data": 1}}), ("UNRECORDED", {"record": {}})):
        torch.save(checkpoint | {"carsfg": checkpoint["carsfg"] | change}, name)
    assert carsfg_main(["evaluate", *[plain[1] if word == "CKPT" else word for word in words]]) == 2
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if not line.startswith("Drawing ")] == []
    assert said in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_written(
    plain: tuple[Any, str], drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [plain[1], f"--data.root={drawn_root}", f"--json={tmp_path}"]
    assert carsfg_main(["evaluate", *words]) == 2
    assert f"cannot write '{tmp_path}': it is a folder" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from carsfg.cli import main; main(['evaluate', '--help']); print({'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--json JSON" in done.stdout
    assert "with 95 % intervals" in " ".join(done.stdout.split())
    assert done.stdout.endswith("set()\n")

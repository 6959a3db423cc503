"""`timm:NAME` and `torchvision:NAME` in place of a checkpoint: search first, train later."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from carsfg.cli import main
from carsfg.evaluation.checkpoint_data import Subject
from carsfg.evaluation.scores import fit_probe
from carsfg.run_record import RunRecord
from carsfg.search.gallery import Gallery
from carsfg.tasks.checkpoints import load, read_record
from carsfg.tasks.classifier import CarClassifier
from tests.commands.conftest import Fit, one_line
from tests.conftest import TINY_RESNET, MakeCars

Capture = pytest.CaptureFixture[str]
PLAIN = ["--device=cpu", "--precision=32-true"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "resnet.pt"
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def found(weights: str, cars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery without a head."""
    folder = tmp_path_factory.mktemp("found") / "gallery"
    assert main(["index", TINY_RESNET, str(cars), f"--output={folder}", f"--weights={weights}", *PLAIN]) == 0
    return folder


@pytest.fixture(scope="module")
def evaluated(weights: str, drawn_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of a linear probe, and the scores of the network."""
    folder = tmp_path_factory.mktemp("probe")
    (data,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0")
    words = [TINY_RESNET, f"--weights={weights}", f"--data.root={data}", "--data.val=holdout", *PLAIN]
    files = [f"--json={folder / 'e.json'}", f"--save_probe={folder / 'probe.ckpt'}"]
    assert main(["evaluate", *words, *files]) == 0
    return folder / "probe.ckpt", json.loads((folder / "e.json").read_text())


def test_a_gallery_has_the_classes_of_its_folder(found: Path, cars: Path) -> None:
    gallery = Gallery.load(found)
    assert gallery.class_names == sorted(folder.name for folder in cars.iterdir())
    assert (gallery.record.weights, gallery.record.is_trained, gallery.record.image_size) == ("resnet.pt", False, 160)
    assert gallery.record.data == {
        "crop": True, "margin": 0.0, "image_size": 160, "learned_from": None, "box": "none",
    }  # fmt: skip


def test_what_index_says(weights: str, cars: Path, tmp_path: Path, capsys: Capture) -> None:
    words = [TINY_RESNET, str(cars), f"--output={tmp_path / 'g'}", f"--weights={weights}", *PLAIN]
    assert main(["index", *words]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "pretrained network timm:test_resnet, weights resnet.pt: 160 px, cosine, 32-true, bilinear, "
        "mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]"
    ]


def test_an_answer_has_no_classifier(found: Path, car: Path, capsys: Capture) -> None:
    assert main(["search", str(found), str(car), "--device=cpu"]) == 0
    shown = capsys.readouterr().out
    assert "vote of 10" in shown
    assert "classifier" not in shown
    assert main(["search", str(found), str(car), "--device=cpu", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["classes"] == []
    assert answer["matches"][0]["name"] == car.parent.name
    assert answer["matches"][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_predict_votes(found: Path, car: Path, tmp_path: Path, capsys: Capture) -> None:
    output, network = tmp_path / "predictions.csv", found / "network.ckpt"
    assert main(["predict", str(network), str(car), f"--gallery={found}", f"--output={output}", *PLAIN]) == 0
    with output.open() as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["path", "vote", "nearest", "nearest_label", "nearest_score", "known_p"]
    assert row["nearest_label"] == car.parent.name
    capsys.readouterr()
    assert main(["predict", str(network), str(car), f"--output={tmp_path / 'other.csv'}"]) == 2
    assert "has no classification head: add --gallery to classify" in one_line(capsys)


@pytest.mark.slow
def test_export_has_embeddings_alone(weights: str, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "net.onnx"
    assert main(["export", TINY_RESNET, f"--weights={weights}", f"--output={output}"]) == 0
    assert "B x 3 x H x W) in, embedding out" in capsys.readouterr().out
    assert output.stat().st_size > 100_000


def test_export_names_its_file_after_the_network(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("test_resnet.onnx").mkdir()
    assert main(["export", TINY_RESNET, f"--weights={weights}"]) == 2
    assert "cannot write 'test_resnet.onnx': it is a folder" in one_line(capsys)


def test_scores_without_a_head(evaluated: tuple[Path, dict[str, Any]]) -> None:
    scores = evaluated[1]
    official = [
        row["score"] for row in scores["rows"] if row["protocol"] == "official" and row["images"] == "all images"
    ]
    assert official == ["knn_10", "linear_probe"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in scores["rows"])
    assert {row["protocol"] for row in scores["rows"]} == {"official", "closed_train_gallery", "closed_loo"}
    assert (scores["has_head"], scores["pretrained"]) == (False, "timm:test_resnet, weights resnet.pt")
    assert (scores["trained"], scores["image_size"]) == ({}, 160)


def test_the_head_of_a_saved_probe_is_the_probe(
    evaluated: tuple[Path, dict[str, Any]], weights: str, make_cars: MakeCars
) -> None:
    path, scores = evaluated
    cars = make_cars(image_size=160)
    subject = Subject.prepare(load(TINY_RESNET, weights=weights), cars, "")
    train, test = subject.images()
    assert train is not None
    probe = fit_probe(train, test, scores["probe_strength"])
    task = load(path)
    assert isinstance(task, CarClassifier)
    with torch.no_grad():
        logits = task.classify(test.embedded.embeddings)
    torch.testing.assert_close(logits, probe(test.embedded.embeddings), atol=1e-3, rtol=1e-3)
    predicted = Subject.prepare(task, make_cars(image_size=160), "").images()[1].predicted
    assert predicted is not None
    assert predicted.tolist() == probe(test.embedded.embeddings).argmax(1).tolist()
    right = (predicted == test.embedded.labels).double().mean()
    by_name = {row["score"]: row["value"] for row in scores["rows"] if row["images"] == "all images"}
    assert float(right) == pytest.approx(by_name["linear_probe"])


def test_the_record_of_a_probe(evaluated: tuple[Path, dict[str, Any]]) -> None:
    record, strength = read_record(evaluated[0]), evaluated[1]["probe_strength"]
    assert record.trainer == {"linear_probe_of": TINY_RESNET, "l2": strength, "precision": "32-true"}
    assert (record.experiment, record.chosen_on) == ("linear_probe", f"holdout: L2 {strength:g} of a linear probe")
    assert (record.weights, record.is_trained, record.network) == ("resnet.pt", True, f"{TINY_RESNET} frozen")
    assert (record.data["classes"], record.data["train_images"], record.data["test_images"]) == (4, 40, 20)
    assert record.data["split_hash"] == evaluated[1]["split_hash"]
    assert record.training_length == f"linear probe of {TINY_RESNET}"


@pytest.mark.usefixtures("fit")
def test_every_verb_takes_a_probe(
    evaluated: tuple[Path, dict[str, Any]],
    found: Path,
    cars: Path,
    car: Path,
    drawn_root: Path,
    capsys: Capture,
) -> None:
    path, scores = str(evaluated[0]), evaluated[1]
    (data,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0")
    assert main(["test", "--config", "tiny", f"--data.root={data}", f"--ckpt_path={path}"]) == 0
    shown = capsys.readouterr()
    rows = {row["score"]: row["value"] for row in scores["rows"] if row["images"] == "all images"}
    assert f"{100 * rows['linear_probe']:.2f} %" in shown.out
    assert "chosen on holdout: L2" in shown.out
    (made,) = Path("lightning_logs/tiny").glob("version_*")
    assert RunRecord.read(made).trainer["linear_probe_of"] == TINY_RESNET
    assert main(["index", path, str(cars), "--output=gallery", "--box=none", *PLAIN]) == 0
    assert main(["search", "gallery", str(car), "--device=cpu", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(answer["classes"]) == 4
    # the gallery of the network without a head is searched by the probe as well: both embed alike
    assert main(["predict", path, str(car), f"--gallery={found}", "--box=none", *PLAIN]) == 0
    with Path("predictions.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {"top1", "vote"} <= row.keys()


def test_a_probe_of_a_trained_network_replaces_its_head(
    evaluated: tuple[Path, dict[str, Any]], drawn_root: Path, tmp_path: Path
) -> None:
    (data,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0")
    output, words = tmp_path / "again.ckpt", [str(evaluated[0]), f"--data.root={data}", "--device=cpu"]
    assert main(["evaluate", *words, f"--save_probe={output}"]) == 0
    first, again = load(evaluated[0]), load(output)
    torch.testing.assert_close(again.head.weight, first.head.weight, atol=1e-3, rtol=1e-3)
    assert main(["evaluate", *words, f"--save_probe={output}"]) == 2  # it exists


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["index", "cars.ckpt", "photos", "--output=g", "--weights=w.pt"],
            "--weights 'w.pt' is for pretrained networks",
        ),
        (["index", TINY_RESNET, "photos", "--output=g", "--weights=w.pt"], "no weights file w.pt"),
        (["index", "timm:test_resnt", "photos", "--output=g"], "did you mean 'test_resnet'?"),
        (["evaluate", "torchvision:resnet5O"], "did you mean 'resnet50'?"),
        (["evaluate", TINY_RESNET, "--save_probe=no/folder/p.ckpt"], "the folder does not exist"),
        (["evaluate", TINY_RESNET, "--save-probe=p.ckpt"], "did you mean '--save_probe'?"),
        (["fit", "--config=tiny", f"--ckpt_path={TINY_RESNET}"], f"with --model.backbone={TINY_RESNET}"),
        (["test", "--config=tiny", "--ckpt_path=torchvision:resnet50"], "with --model.backbone=resnet50"),
        (
            ["fit", "--config=tiny", "--model.backbone=torchvision:resnet50"],
            "unknown backbone 'torchvision:resnet50' (did",
        ),
        (
            ["fit", "--config=tiny", "--model=carsfg.tasks.pretrained.PretrainedNetwork"],
            "train a carsfg.CarClassifier with this backbone",
        ),
    ],
)
@pytest.mark.usefixtures("fit")
def test_mistakes(words: list[str], said: str, root: Path, capsys: Capture) -> None:
    words = [*words, *([f"--data.root={root}"] if words[0] == "fit" else [])]
    assert main(words) == 2
    assert said in one_line(capsys)


def test_a_gallerys_network_without_a_head_is_not_tested(found: Path, fit: Fit, capsys: Capture) -> None:
    assert fit(f"--ckpt_path={found / 'network.ckpt'}", verb="test") == 2
    assert "is a pretrained network without a head: `carsfg evaluate` scores it" in one_line(capsys)


def test_zero_shot_has_no_probe(weights: str, drawn_root: Path, tmp_path: Path, capsys: Capture) -> None:
    (data,) = drawn_root.glob("drawn_cars/4-classes-10-train-5-test-seed-0")
    words = [TINY_RESNET, f"--weights={weights}", f"--data.root={data}", "--data.protocol=zero_shot"]
    assert main(["evaluate", *words, f"--save_probe={tmp_path / 'p.ckpt'}"]) == 2
    assert "under zero_shot there are no training images of the tested classes" in one_line(capsys)


def test_fit_takes_what_the_weights_expect(weights: str, fit: Fit, capsys: Capture) -> None:
    given = [f"--model.weights={weights}", "--model.mean=[0.4,0.5,0.5]", "--trainer.limit_train_batches=1"]
    assert fit(*given, "--trainer.max_epochs=1") == 0
    said = capsys.readouterr().err.splitlines()
    assert "taken from the description of timm:test_resnet's weights: model.std [0.5, 0.5, 0.5]" in said
    assert "model.mean [0.4, 0.5, 0.5] is used as given; the weights were trained with [0.5, 0.5, 0.5]" in said
    (run,) = Path("lightning_logs/tiny").glob("version_*")
    task, config = RunRecord.read(run).task, (run / "config.yaml").read_text()
    assert (task["image_size"], task["interpolation"]) == (32, "bilinear")
    assert (task["mean"], task["std"]) == ([0.4, 0.5, 0.5], [0.5, 0.5, 0.5])
    assert "interpolation: bilinear" in config
    assert "mean: null" not in config
    (checkpoint,) = run.glob("checkpoints/*.ckpt")
    assert fit(f"--ckpt_path={checkpoint}", verb="test") == 0
    assert "model.std" not in capsys.readouterr().err  # nothing was set that the checkpoint overrides

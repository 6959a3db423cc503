"""`carsfg fit` and its kin, end to end on drawn cars, and every mistake in one line with exit code 2."""

import csv
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import carsfg
from carsfg.callbacks.record_run import COMPARED
from carsfg.cli import main
from carsfg.data.class_names import class_attributes
from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search.engine import VisualSearch
from carsfg.tasks.fingerprint import fingerprint
from tests.commands.conftest import Fit, state
from tests.conftest import TINY_RESNET


def test_a_run_leaves_logs_a_checkpoint_and_a_table(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    run = Path("lightning_logs/tiny/version_0")
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["batch_size"] == 8
    with (run / "metrics.csv").open() as file:
        keys = set(next(csv.reader(file)))
    figures = {"loss", "top1", "top5", "precision_weighted", "recall_weighted", "f1_weighted"}
    figures |= {"precision_macro", "recall_macro", "f1_macro"}
    figures |= {"make", "body", "year"}
    assert {f"{split}/{figure}" for split in ("val", "test") for figure in figures} <= keys
    assert {"train/loss", "train/top1", "lr-Adam"} <= keys
    with (run / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["images"]) for row in rows] == [4, 4, 4]
    assert all(float(row["accuracy"]) == int(row["correct"]) / 4 for row in rows)
    out = capsys.readouterr().out
    assert "epoch 2/2  train loss" in out
    (saved,) = run.glob("checkpoints/*.ckpt")
    assert f"checkpoint: {saved}\n" in out
    assert "tiny: test, protocol official on drawn cars" in out
    checkpoint = torch.load(next(run.glob("checkpoints/*.ckpt")), weights_only=True)
    assert checkpoint["carsfg"]["task"] == "CarClassifier"
    assert checkpoint["carsfg"]["record"]["chosen_on"] == "last epoch"
    assert str(fit.root) not in str(checkpoint["carsfg"])


def test_tensorboard_compares_runs(fit_with_figures: Fit) -> None:
    assert fit_with_figures() == 0
    run = EventAccumulator("lightning_logs/tiny/version_0")
    run.Reload()
    (point,) = {event.step for event in run.Scalars("test/top1")}  # of the test, and of the table of hyper-parameters
    assert point > 0
    content = run.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    wanted = {"network", "data", *(key.rpartition(".")[2] for key in COMPARED if key != "data.name")}
    assert set(HParamsPluginData.FromString(content).session_start_info.hparams) == wanted
    content = run.SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = [info.name.tag for info in HParamsPluginData.FromString(content).experiment.metric_infos]
    assert metrics == ["test/top1", "test/f1_weighted", "test/f1_macro", "test/loss"]
    assert "split_hash" in Path("lightning_logs/tiny/version_0/hparams.yaml").read_text()


def test_a_run_that_helps_to_choose_scores_no_test_image(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--test_after_fit=false", "--trainer.max_epochs=1") == 0
    run = Path("lightning_logs/tiny/version_0")
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert "val/top1" in header
    assert "test/" not in header
    out = capsys.readouterr().out
    assert "test," not in out  # no table
    (saved,) = run.glob("checkpoints/*.ckpt")
    assert f"checkpoint: {saved}\n" in out


def test_the_leak_is_shown_beside_the_honest_figure(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--data.protocol=seed_leaky", "--trainer.max_epochs=1") == 0
    out = capsys.readouterr().out
    assert "this run, leaked" in out
    assert "this run, honest" in out


def test_mixed_precision_where_the_cpu_has_it(fit: Fit) -> None:
    assert fit("--trainer.precision=null", "--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    has_it = "avx512_bf16" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else None
    precision = torch.load(checkpoint, weights_only=True)["carsfg"]["record"]["trainer"]["precision"]
    assert has_it is None or precision == ("bf16-mixed" if has_it else "32-true")


def test_a_saved_checkpoint_can_be_tested_and_loaded(
    fit: Fit, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(f"--ckpt_path={trained}", "--seed_everything=7", verb="test") == 0
    assert "seed 0" in " ".join(capsys.readouterr().out.split())  # of the training, not of the test
    record = RunRecord.read("lightning_logs/tiny/version_1")
    assert (record.seed, record.network, record.protocol) == (0, TINY_RESNET, "official")
    assert fit(f"--model.init_from={trained}", "--seed_everything=7", "--trainer.max_epochs=9", verb="test") == 0
    same = RunRecord.read("lightning_logs/tiny/version_2")
    assert (same.seed, same.trainer["max_epochs"], same.weights) == (0, 1, "random")
    assert fit(f"--ckpt_path={trained}", verb="validate") == 0
    task = carsfg.load(trained)
    out = task(torch.zeros(2, 3, 50, 40, dtype=torch.uint8))
    assert out["logits"].shape == (2, 3)
    assert out["embedding"].shape == (2, 96)


def logged_loss(version: int) -> str:
    """The last test loss that a run has logged."""
    with Path(f"lightning_logs/tiny/version_{version}/metrics.csv").open() as file:
        return [row["test/loss"] for row in csv.DictReader(file) if row["test/loss"]][-1]


@pytest.mark.slow
def test_the_chosen_weights_are_tested_whichever_callback_comes_first(fit: Fit) -> None:
    name = "class_path: lightning.pytorch.callbacks.ModelCheckpoint"
    last = f"{{{name}, init_args: {{dirpath: last}}}}"
    first = f"{{{name}, init_args: {{dirpath: chosen, monitor: epoch, mode: min}}}}"  # chooses the first epoch
    assert fit(f"--trainer.callbacks=[{last},{first}]") == 0
    assert fit(f"--ckpt_path={next(Path('last').glob('*.ckpt'))}", verb="test") == 0
    assert fit(f"--ckpt_path={next(Path('chosen').glob('*.ckpt'))}", verb="test") == 0
    last_tested, chosen_tested = (logged_loss(version) for version in (1, 2))
    assert last_tested != chosen_tested == logged_loss(0)


AVERAGED = """
trainer:
  callbacks:
    - class_path: lightning.pytorch.callbacks.EMAWeightAveraging
      init_args: {decay: 0.8}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: kept, filename: kept, save_weights_only: WEIGHTS_ONLY, monitor: MONITOR, mode: min}
"""


@pytest.mark.parametrize(
    ("monitor", "weights_only"),
    [
        ("epoch", "false"),  # chooses the first epoch
        pytest.param("epoch", "true", marks=pytest.mark.slow),
        pytest.param("null", "false", marks=pytest.mark.slow),
        pytest.param("null", "true", marks=pytest.mark.slow),
    ],
)
def test_of_averaged_weights_those_in_the_checkpoint_are_tested(
    monitor: str, weights_only: str, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("averaged.yaml").write_text(AVERAGED.replace("WEIGHTS_ONLY", weights_only).replace("MONITOR", monitor))
    assert fit("--config=averaged.yaml") == 0
    assert "checkpoint: kept/kept.ckpt\n" in capsys.readouterr().out.replace(f"{Path.cwd()}/", "")
    assert fit("--ckpt_path=kept/kept.ckpt", verb="test") == 0
    assert logged_loss(0) == logged_loss(1)
    fitted, tested = (Path(f"lightning_logs/tiny/version_{version}") for version in (0, 1))
    for name in ("per_class.csv", "confusions.csv"):
        assert (fitted / name).read_text() == (tested / name).read_text()
    record = RunRecord.read(fitted)
    assert (record.seed, record.data["val"], record.trainer["max_epochs"]) == (0, "holdout", 2)
    assert record.chosen_on == ("last epoch" if monitor == "null" else "holdout: epoch")


def test_without_a_logger_there_is_no_table_of_classes(fit: Fit) -> None:
    assert fit("--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.max_epochs=1") == 0
    assert list(Path().rglob("per_class.csv")) == []


def test_predictions_are_kept_and_make_a_gallery(fit: Fit, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(f"--ckpt_path={trained}", "--data.predict=both", verb="predict") == 0
    (file,) = Path().glob("lightning_logs/tiny/version_*/predictions-0.pt")
    kept = torch.load(file, weights_only=True)
    assert kept["index"].tolist() == list(range(36))
    assert kept["logits"].shape == (36, 3)
    gallery = carsfg.Gallery.load(file.parent / "gallery")
    assert f"a gallery of 36 images: {file.parent / 'gallery'}" in capsys.readouterr().out
    assert gallery.paths[0] == "stanford_cars/cars_train/00001.jpg"
    assert gallery.paths[35] == "stanford_cars/cars_test/00012.jpg"
    assert gallery.labels[24:].tolist() == carsfg.StanfordCars(fit.root, "test").labels.tolist()
    expected = class_attributes(gallery.class_names, gallery.labels)
    for place in (0, 30):
        assert gallery.attributes.at(place) == {name: column[place] for name, column in expected.items()}
    assert gallery.record.protocol == "official"
    _, found = gallery.search(kept["embedding"], 1)
    assert found.flatten().tolist()[:24] == list(range(24))  # in `cars_test` some have a twin that comes first
    gallery.check_network(fingerprint(carsfg.load(trained)))
    with pytest.raises(InputError, match="the gallery was made by another network"):
        gallery.check_network("0" * 16)


def test_photos_find_themselves_in_the_gallery_of_predictions(fit: Fit, trained: str) -> None:
    """In the originals, with the boxes that training cut them to."""
    assert fit(f"--ckpt_path={trained}", "--data.predict=both", verb="predict") == 0
    (folder,) = Path().glob("lightning_logs/tiny/version_*/gallery")
    search, train = VisualSearch.open(folder), carsfg.StanfordCars(fit.root, "train")
    assert len(search.gallery.calibration) == 34  # two duplicates have themselves as nearest
    pictures = search.gallery.thumbnails
    assert pictures is not None
    assert [pictures[place].size for place in range(36)] == [(32, 32)] * 36
    for place in range(0, 24, 5):
        x0, y0, x1, y1 = train.boxes[place].tolist()
        answer = search.search(fit.root / search.gallery.paths[place], box=(x0, y0, x1, y1))
        assert answer.matches[0].place == place
        assert answer.matches[0].similarity == pytest.approx(1, abs=1e-4)
        assert answer.matches[0].name == train.class_names[train.labels[place]]
        assert answer.is_known


def test_a_batch_can_be_overfitted(fit: Fit) -> None:
    assert fit("--trainer.overfit_batches=1") == 0


def test_a_run_has_a_name_of_its_own(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--name=lr small", "--trainer.max_epochs=1") == 0
    assert Path("lightning_logs/tiny/lr small/run_record.json").is_file()
    assert "carsfg index 'lightning_logs/tiny/lr small/checkpoints/" in capsys.readouterr().out
    assert fit("--name=lr small") == 2
    assert "exists: use another --name" in capsys.readouterr().err
    assert fit("--name=../up") == 2


def test_a_run_goes_on_in_its_own_folder(fit: Fit, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    whole = next(Path().glob("lightning_logs/tiny/version_1/checkpoints/*.ckpt"))
    run = Path(trained).parents[1]
    assert main(["fit", f"--resume={run}"]) == 2
    assert "has had its 1 epochs: increase trainer.max_epochs" in capsys.readouterr().err
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=2"]) == 0
    resumed = next(run.glob("checkpoints/epoch=1*.ckpt"))
    expected, got = state(str(whole)), state(str(resumed))
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert not Path("lightning_logs/tiny/version_2").exists()
    assert (run / "metrics-0.csv").is_file()
    assert RunRecord.read(run).recipe_hash == RunRecord.read("lightning_logs/tiny/version_1").recipe_hash
    assert "tiny: test" in capsys.readouterr().out


def test_a_run_without_checkpoint_begins_again(fit: Fit) -> None:
    assert fit() == 0
    whole = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    expected = state(str(whole))
    whole.unlink()
    assert main(["fit", "--resume=lightning_logs/tiny/version_0"]) == 0
    got = state(str(next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))))
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def test_the_saved_config_repeats_the_run(fit: Fit) -> None:
    assert fit("--trainer.max_epochs=1", "--trainer.precision=null") == 0
    run = Path("lightning_logs/tiny/version_0")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["trainer"]["precision"] == RunRecord.read(run).precision
    assert main(["fit", "--config", str(run / "config.yaml")]) == 0
    assert RunRecord.read("lightning_logs/tiny/version_1").recipe_hash == RunRecord.read(run).recipe_hash


def test_a_user_s_logger_stands_beside_the_csv_file(fit: Fit) -> None:
    logger = "{class_path: lightning.pytorch.loggers.TensorBoardLogger, init_args: {save_dir: own}}"
    assert fit(f"--trainer.logger={logger}", "--trainer.max_epochs=1") == 0
    assert Path("lightning_logs/tiny/version_0/metrics.csv").is_file()
    assert list(Path("own").rglob("events*"))


def test_the_checkpoint_is_kept_beside_other_checkpoint_callbacks(fit: Fit) -> None:
    other = "{class_path: lightning.pytorch.callbacks.OnExceptionCheckpoint, init_args: {dirpath: x}}"
    assert fit(f"--trainer.callbacks=[{other}]", "--trainer.max_epochs=1") == 0
    assert len(list(Path("lightning_logs/tiny/version_0/checkpoints").glob("*.ckpt"))) == 1


def test_values_that_the_checkpoint_overrides_are_named(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1", "--data.margin=0.5") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit(f"--ckpt_path={checkpoint}", "--model.lr=0.5", "--trainer.max_epochs=2") == 0
    err = capsys.readouterr().err
    assert "taken from the checkpoint: model.lr 0.001 (the config has 0.5)\n" in err
    assert "taken from the config: data.margin 0.0 (the training used 0.5)\n" in err


def test_a_start_from_a_network_of_other_images_is_named(
    fit: Fit, trained: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert fit(f"--model.init_from={trained}", "--trainer.max_epochs=1") == 0
    assert "learned from" not in caplog.text
    start = torch.load(trained, weights_only=True)
    start["carsfg"]["record"]["data"]["learned_from"] = "whole photos"
    torch.save(start, "whole.ckpt")
    assert fit("--model.init_from=whole.ckpt", "--trainer.max_epochs=1") == 0
    line = "the training images are box crops, but this network learned from whole photos: expect worse results"
    assert [one for one in caplog.messages if "learned from" in one] == [line]


def test_a_network_at_a_larger_size_than_the_stored_images(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--data.image_size=16") == 2
    assert "data.image_size 16 is below model.image_size 32" in capsys.readouterr().err

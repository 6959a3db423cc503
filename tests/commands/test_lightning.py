"""`carsfg fit` and its kin, end to end on drawn cars, and every mistake in one line with exit code 2."""

import csv
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

import carsfg
from carsfg.data.drawn_cars import DrawnCars, draw_cars
from carsfg.errors import InputError
from carsfg.main import main
from carsfg.tasks.fingerprint import fingerprint

SPEC = DrawnCars(classes=3, train=8, test=4)
TINY = """
model:
  class_path: carsfg.CarClassifier
  init_args: {backbone: resnet18, weights: null, dropout: 0.5, image_size: 32}
data: {val: holdout, augment: crop_flip_rotate, image_size: 32, batch_size: 8}
trainer:
  {max_epochs: 2, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu, precision: 32-true}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cars")
    draw_cars(root, SPEC, progress=False)
    return root


@pytest.fixture
def fit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Fit":
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return Fit(root)


class Fit:
    """Runs a verb with the tiny config in the test's own folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: str, verb: str = "fit") -> int:
        return main([verb, "--config", "tiny", f"--data.root={self.root}", *words])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that carsfg wrote; what Lightning logs before it begins otherwise."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("carsfg: error: ")]
    assert len(lines) == 1
    return lines[0]


def state(path: str) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]  # type: ignore[no-any-return]


def test_a_run_leaves_logs_a_checkpoint_and_a_table(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    run = Path("lightning_logs/tiny/version_0")
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"] == 8
    with (run / "metrics.csv").open() as file:
        keys = set(next(csv.reader(file)))
    figures = {"loss", "top1", "top5", "precision_weighted", "recall_weighted", "f1_weighted", "f1_macro"}
    figures |= {"make", "body", "year"}
    assert {f"{split}/{figure}" for split in ("val", "test") for figure in figures} <= keys
    assert {"train/loss", "train/top1", "lr-Adam"} <= keys
    with (run / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["images"]) for row in rows] == [4, 4, 4]
    assert all(float(row["accuracy"]) == int(row["correct"]) / 4 for row in rows)
    out = capsys.readouterr().out
    assert "epoch 2/2  train loss" in out
    assert "tiny: test, protocol official on Stanford Cars" in out
    checkpoint = torch.load(next(run.glob("checkpoints/*.ckpt")), weights_only=True)
    assert checkpoint["carsfg"]["task"] == "CarClassifier"
    assert checkpoint["carsfg"]["stamp"]["chosen_on"] == "last epoch"
    assert str(fit.root) not in str(checkpoint["carsfg"])


def test_a_run_that_helps_to_choose_scores_no_test_image(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--test_after_fit=false", "--trainer.max_epochs=1") == 0
    run = Path("lightning_logs/tiny/version_0")
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert "val/top1" in header
    assert "test/" not in header
    assert "test," not in capsys.readouterr().out  # no table


def test_the_leak_is_shown_beside_the_honest_figure(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--data.protocol=seed_leaky", "--trainer.max_epochs=1") == 0
    out = capsys.readouterr().out
    assert "this run, leaked" in out
    assert "this run, honest" in out


def test_mixed_precision_where_the_cpu_has_it(fit: Fit) -> None:
    assert fit("--trainer.precision=null", "--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    has_it = "avx512_bf16" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else None
    precision = torch.load(checkpoint, weights_only=True)["carsfg"]["stamp"]["precision"]
    assert has_it is None or precision == ("bf16-mixed" if has_it else "32-true")


def test_a_saved_checkpoint_can_be_tested_and_loaded(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    checkpoint = str(next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt")))
    assert fit(f"--ckpt_path={checkpoint}", "--seed_everything=7", verb="test") == 0
    assert "seed 0" in " ".join(capsys.readouterr().out.split())  # of the training, not of the test
    assert fit(f"--ckpt_path={checkpoint}", verb="validate") == 0
    task = carsfg.load(checkpoint)
    out = task(torch.zeros(2, 3, 50, 40, dtype=torch.uint8))
    assert out["logits"].shape == (2, 3)
    assert out["embedding"].shape == (2, 512)


def test_a_resumed_run_repeats_an_uninterrupted_one(fit: Fit) -> None:
    assert fit() == 0
    whole = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit("--trainer.max_epochs=1") == 0
    half = next(Path().glob("lightning_logs/tiny/version_1/checkpoints/*.ckpt"))
    assert fit(f"--ckpt_path={half}") == 0
    resumed = next(Path().glob("lightning_logs/tiny/version_2/checkpoints/epoch=1*.ckpt"))
    expected, got = state(str(whole)), state(str(resumed))
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def logged_loss(version: int) -> str:
    """The last test loss that a run has logged."""
    with Path(f"lightning_logs/tiny/version_{version}/metrics.csv").open() as file:
        return [row["test/loss"] for row in csv.DictReader(file) if row["test/loss"]][-1]


def test_the_chosen_weights_are_tested_whichever_callback_comes_first(fit: Fit) -> None:
    name = "class_path: lightning.pytorch.callbacks.ModelCheckpoint"
    last = f"{{{name}, init_args: {{dirpath: last}}}}"
    first = f"{{{name}, init_args: {{dirpath: chosen, monitor: epoch, mode: min}}}}"  # chooses the first epoch
    assert fit(f"--trainer.callbacks=[{last},{first}]") == 0
    assert fit(f"--ckpt_path={next(Path('last').glob('*.ckpt'))}", verb="test") == 0
    assert fit(f"--ckpt_path={next(Path('chosen').glob('*.ckpt'))}", verb="test") == 0
    last_tested, chosen_tested = (logged_loss(version) for version in (1, 2))
    assert last_tested != chosen_tested == logged_loss(0)


def test_without_a_logger_there_is_no_table_of_classes(fit: Fit) -> None:
    assert fit("--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.max_epochs=1") == 0
    assert list(Path().rglob("per_class.csv")) == []


def test_predictions_are_kept_and_make_a_gallery(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit(f"--ckpt_path={checkpoint}", "--data.predict=both", verb="predict") == 0
    (file,) = Path().glob("lightning_logs/tiny/version_*/predictions-0.pt")
    kept = torch.load(file, weights_only=True)
    assert kept["index"].tolist() == list(range(36))
    assert kept["logits"].shape == (36, 3)
    gallery = carsfg.Gallery.load(file.parent / "gallery")
    assert f"a gallery of 36 images: {file.parent / 'gallery'}" in capsys.readouterr().out
    assert gallery.paths[0] == "stanford_cars/cars_train/00001.jpg"
    assert gallery.paths[35] == "stanford_cars/cars_test/00012.jpg"
    assert gallery.labels[24:].tolist() == carsfg.StanfordCars(fit.root, "test").labels.tolist()
    assert gallery.stamp["protocol"] == "official"
    _, found = gallery.search(kept["embedding"], 1)
    assert found.flatten().tolist()[:24] == list(range(24))  # in `cars_test` some have a twin that comes first
    gallery.check_network(fingerprint(carsfg.load(checkpoint)))
    with pytest.raises(InputError, match="the gallery was made by another network"):
        gallery.check_network("0" * 16)


def test_a_batch_can_be_overfitted(fit: Fit) -> None:
    assert fit("--trainer.overfit_batches=1") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.augmnt=none"], "unknown key 'data.augmnt' (did you mean 'data.augment'?)"),
        (["--trainer.max_epoch=1"], "unknown key 'trainer.max_epoch' (did you mean 'trainer.max_epochs'?)"),
        (["--model.bakbone=resnet18"], "unknown key 'bakbone' in model (did you mean 'backbone'?)"),
        (["--model.backbone=resnet81"], "unknown backbone 'resnet81' (did you mean 'resnet18'?)"),
        (["--model.class_path=carsfg.CarClasifier"], "no attribute 'CarClasifier'"),
        (["--model.weights=nowhere.pt"], "no weights file nowhere.pt"),
        (["--data.augment=nothing"], "unknown data.augment 'nothing'"),
        (["--data.batch_size=many"], "data.batch_size"),
        (["--data.root=nowhere"], "nowhere"),
        (["--ckpt_path=nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (["--config", "tinny"], "no config 'tinny'"),
    ],
)
def test_mistakes(words: Sequence[str], said: str, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(*words) == 2
    assert said in one_line(capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_gpu_overlay_without_a_gpu(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--config", "gpu") == 2
    assert "gpu" in one_line(capsys).lower()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_a_network_without_training_is_not_scored(verb: str, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(verb=verb) == 2
    assert "--ckpt_path" in one_line(capsys)


def test_an_unknown_monitor_is_named(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/topp}}"
    assert fit(f"--trainer.callbacks={checkpoint}") == 2
    assert "val/topp" in one_line(capsys)


def test_a_misspelt_key_in_a_config(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.yaml").write_text("model: {init_args: {drop_out: 0.1}}\n")
    assert fit("--config", "wrong") == 2
    assert one_line(capsys) == "carsfg: error: unknown key 'drop_out' in model (did you mean 'dropout'?)"


def test_without_a_config_the_shipped_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 2
    assert "tl_exp3.yaml" in one_line(capsys)


def test_without_data_the_way_out_is_named(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--data.root=nowhere") == 2
    said = one_line(capsys)
    assert "carsfg data fetch" in said
    assert "--config demo.yaml" in said


def test_a_truncated_image_is_named_at_once(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(fit.root / "stanford_cars", damaged / "stanford_cars")
    image = damaged / "stanford_cars/cars_train/00003.jpg"
    image.write_bytes(image.read_bytes()[:200])
    assert fit(f"--data.root={damaged}") == 2
    assert "cars_train/00003.jpg" in one_line(capsys)


def test_a_missing_annotation_file_is_named(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(fit.root / "stanford_cars", damaged / "stanford_cars")
    (damaged / "stanford_cars/cars_test_annos_withlabels.mat").unlink()
    assert fit(f"--data.root={damaged}") == 2
    assert "cars_test_annos_withlabels.mat" in one_line(capsys)


def test_selecting_on_test_images_is_refused(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/top1}}"
    assert fit("--data.val=test", f"--trainer.callbacks={checkpoint}") == 2
    assert "choosing on test images is refused" in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.val=none"], "there will be nothing to choose on"),
        (["--data.protocol=seed_leaky"], "choosing on copies of training images is refused"),
    ],
)
def test_selecting_where_nothing_can_choose(
    words: Sequence[str], said: str, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/top1}}"
    assert fit(f"--trainer.callbacks={checkpoint}", *words) == 2
    assert said in one_line(capsys)


def test_a_schedule_made_for_another_length(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = ["--model.scheduler=CosineAnnealingLR"]
    assert fit("--trainer.max_epochs=1", *schedule) == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit(f"--ckpt_path={checkpoint}", "--trainer.max_epochs=3", *schedule) == 2
    assert "CosineAnnealingLR was made for 1 epochs, this run lasts 3" in one_line(capsys)


def test_a_schedule_over_a_run_without_end(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--model.scheduler=OneCycleLR", "--trainer.max_epochs=-1", "--trainer.max_time=00:00:00:09") == 2
    assert "needs its length: set trainer.max_epochs" in one_line(capsys)


def test_what_stayed_random_is_not_scored(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit(f"--model.init_from={checkpoint}", verb="test") == 0
    words = ["--model=carsfg.EmbeddingExtractor", "--model.projection=8", "--model.image_size=32"]
    assert fit(*words, f"--model.init_from={checkpoint}", verb="test") == 2
    assert "head.bias is not in the checkpoint" in one_line(capsys)


def test_a_checkpoint_of_other_classes_is_refused(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    draw_cars(tmp_path / "others", DrawnCars(classes=4, train=3, test=1), progress=False)
    assert fit(f"--data.root={tmp_path / 'others'}", f"--ckpt_path={checkpoint}", verb="test") == 2
    assert "3 classes" in one_line(capsys)


def test_a_loss_that_is_no_number_ends_the_run(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--model.optimizer=SGD", "--model.lr=1e30") == 1
    assert "try a smaller model.lr" in one_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(sign: signal.Signals, fit: Fit) -> None:
    words = ["fit", "--config", "tiny", f"--data.root={fit.root}", "--trainer.max_epochs=10000"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "carsfg", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "epoch 2/" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert re.fullmatch(r"carsfg: error: stopped before the end; go on with --ckpt_path=.*\.ckpt", last)
    assert Path(last.partition("--ckpt_path=")[2]).is_file()

"""Mistakes in configs, data and checkpoints: one line, and exit code 2."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from carsfg.cli import main
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import load_with_record, save_network
from tests.commands.conftest import Fit, one_line, state


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.augmnt=none"], "unknown key 'augmnt' in data (did you mean 'data.augment'?)"),
        (["--trainer.max_epoch=1"], "unknown key 'trainer.max_epoch' (did you mean 'trainer.max_epochs'?)"),
        (["--model.bakbone=resnet18"], "unknown key 'bakbone' in model (did you mean 'model.backbone'?)"),
        (["--model.widths=[8]"], "unknown key 'widths' in model (it is an argument of CarCNN)"),
        (["--model.pooling=gem"], "unknown key 'pooling' in model (it is an argument of CarCNN, EmbeddingExtractor)"),
        (["--model.backbone=resnet81"], "unknown backbone 'resnet81' (did you mean 'resnet18'?)"),
        (["--model.class_path=carsfg.CarClasifier"], "no attribute 'CarClasifier'"),
        (["--model=carsfg.CarCNN", "--model.weights=DEFAULT"], "custom_cnn has no weights 'DEFAULT': give the path of"),
        (["--ckpt_path=https://127.0.0.1/x.ckpt"], "x.ckpt is an address, the checkpoint has to be a file"),
        (["--model.weights=nowhere.pt"], "no weights file nowhere.pt"),
        (["--data.augment=nothing"], "unknown data.augment 'nothing'"),
        (["--data.batch_size=many"], "data.batch_size"),
        (["--data.num_workers=100000"], "data.num_workers 100000 is too many for the cores of this machine: use "),
        (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches 0 must be 1 or more"),
        (["--trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch 0 must be 1 or more"),
        (["--trainer.devices=9999"], "trainer.devices 9999 is too many for the cores of this machine: use "),
        (
            ["--trainer.callbacks=Timer", "--trainer.callbacks.duration=soon"],
            "error: `Timer(duration='soon')` is not a",
        ),
        (["--trainer.strategy=nope"], "the Trainer cannot be built: You selected an invalid strategy name"),
        (["--trainer.devices=[0]"], "the Trainer cannot be built: `devices` selected with `CPUAccelerator` should be"),
        (["--trainer.barebones=true"], "the Trainer cannot be built: `Trainer(barebones=True"),
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


@pytest.mark.parametrize("overlay", ["demo", "gpu", "head_first"])
def test_an_overlay_is_no_experiment(overlay: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", overlay]) == 2
    said = f"{overlay}.yaml is an overlay, not an experiment: use --config EXPERIMENT --config {overlay}.yaml"
    assert said in one_line(capsys)


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_a_network_without_training_is_not_scored(verb: str, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(verb=verb) == 2
    assert "--ckpt_path" in one_line(capsys)


def test_an_unknown_monitor_is_named(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/topp}}"
    assert fit(f"--trainer.callbacks={checkpoint}") == 2
    assert "ModelCheckpoint monitors 'val/topp', which is not logged (did you mean 'val/top" in one_line(capsys)


def test_a_misspelt_key_in_a_config(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.yaml").write_text("model: {init_args: {drop_out: 0.1}}\n")
    assert fit("--config", "wrong") == 2
    assert one_line(capsys) == "carsfg: error: unknown key 'drop_out' in model (did you mean 'model.dropout'?)"


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
    assert "refused; set data.val: holdout, or remove the monitor" in one_line(capsys)


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


def test_what_stayed_random_is_not_scored(fit: Fit, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(f"--model.init_from={trained}", verb="test") == 0
    words = ["--model=carsfg.EmbeddingExtractor", "--model.projection=8", "--model.image_size=32"]
    assert fit(*words, f"--model.init_from={trained}", verb="test") == 2
    assert "head.bias is not in the checkpoint" in one_line(capsys)


def test_a_checkpoint_of_other_classes_is_refused(
    fit: Fit, trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_cars(tmp_path / "others", DrawnCars(classes=4, train=3, test=1), progress=False)
    assert fit(f"--data.root={tmp_path / 'others'}", f"--ckpt_path={trained}", verb="test") == 2
    assert "3 classes" in one_line(capsys)


def test_a_loss_that_is_no_number_ends_the_run(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--model.optimizer=SGD", "--model.lr=1e30") == 1
    assert "try a smaller model.lr" in one_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(sign: signal.Signals, fit: Fit) -> None:
    words = ["fit", "--config", "tiny", f"--data.root={fit.root}", "--trainer.max_epochs=10000"]
    default = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background would inherit deafness
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "carsfg", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, default)
    assert process.stdout is not None
    while "epoch 3/" not in process.stdout.readline():  # then two epochs are saved
        assert process.poll() is None
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    run = "lightning_logs/tiny/version_0"
    assert last == f"carsfg: error: stopped before the end; resume it: carsfg fit --resume {run}"
    assert list(Path(run).glob("checkpoints/*.ckpt"))
    assert main(["fit", f"--resume={run}", "--trainer.max_epochs=1"]) == 2  # it has had more


def test_stopping_early_on_test_images_is_refused(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = "{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: val/top1, mode: max}}"
    assert fit("--data.val=test", f"--trainer.callbacks={stopping}") == 2
    assert "EarlyStopping monitors 'val/top1'" in one_line(capsys)


def test_a_training_metric_may_choose(fit: Fit) -> None:
    checkpoint = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: train/loss}}"
    assert fit("--data.val=test", f"--trainer.callbacks={checkpoint}", "--trainer.fast_dev_run=1") == 0


def test_weights_alone_are_not_resumed(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    alone = "{class_path: lightning.pytorch.callbacks.ModelCheckpoint, init_args: {save_weights_only: true}}"
    assert fit(f"--trainer.callbacks={alone}", "--trainer.max_epochs=1") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    assert fit(f"--ckpt_path={checkpoint}") == 2
    assert "start a new run from it with --model.init_from" in one_line(capsys)


@pytest.mark.parametrize(
    "words", [["--resume=nowhere"], ["--resume"], ["--resume="], ["--ckpt_path=last"], ["--seed_everything=-1"]]
)
def test_what_cannot_be_resumed_or_seeded(words: list[str], fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(*words) == 2
    one_line(capsys)


def test_the_folder_of_an_earlier_run_is_not_taken(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = "{class_path: CSVLogger, init_args: {save_dir: logs, version: 0}}"
    words = [f"--trainer.logger={fixed}", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    assert fit(*words, "--test_after_fit=false") == 0
    assert fit(*words) == 2
    assert "the run logs/lightning_logs/version_0 exists: give trainer.logger another version" in one_line(capsys)


def test_the_network_of_a_gallery_is_tested(fit: Fit, tmp_path: Path) -> None:
    assert fit("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--test_after_fit=false") == 0
    checkpoint = next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))
    task, record = load_with_record(checkpoint)
    save_network(task, tmp_path / "network.ckpt", record)
    assert fit("--ckpt_path=network.ckpt", verb="test") == 0


def test_pruning(fit: Fit) -> None:
    pruning = "{class_path: ModelPruning, init_args: {pruning_fn: l1_unstructured, amount: 0.5}}"
    words = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--test_after_fit=false"]
    assert fit(f"--trainer.callbacks={pruning}", *words) == 0
    tensors = state(str(next(Path().glob("lightning_logs/tiny/version_0/checkpoints/*.ckpt"))))
    weights = [value for name, value in tensors.items() if name.endswith("weight") and value.ndim == 4]
    zeros, count = sum(int((value == 0).sum()) for value in weights), sum(value.numel() for value in weights)
    assert 0.4 < zeros / count < 0.6  # `amount`, of all the weights together

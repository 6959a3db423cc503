"""Every shipped config trains for a batch, and its head says what it is."""

from pathlib import Path

import pytest
import yaml

from carsfg.cli import main
from carsfg.configs import CONFIGS
from carsfg.tasks.image_input import unset_input

OVERLAYS = {"demo", "gpu", "head_first"}
EXPERIMENTS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in OVERLAYS)
SMALL = ["--data.drawn.classes=4", "--data.drawn.train=4", "--data.drawn.test=2", "--data.batch_size=4"]
SMALL += ["--data.image_size=32", "--model.image_size=32"]


@pytest.mark.parametrize("experiment", [*EXPERIMENTS, "tl_exp3 --config head_first", "ir_exp1 --config head_first"])
def test_a_batch(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path.parent / "drawn"  # one drawing for all configs
    words = [
        "fit",
        "--config",
        *experiment.split(),
        "--config",
        "demo",
        f"--data.root={data}",
        "--trainer.fast_dev_run=1",
    ]
    assert main([*words, *SMALL]) == 0


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_is_short_and_begins_with_its_command(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("# carsfg fit --config ")
    assert f"{path.stem}.yaml" in lines[0]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_its_weights_take_images_as_imagenets_do(experiment: str) -> None:
    """The descriptions of the weights change nothing in the shipped experiments and their runs."""
    arguments = yaml.safe_load((CONFIGS / f"{experiment}.yaml").read_text())["model"]["init_args"]
    imagenet = {
        "image_size": 224,
        "interpolation": "bilinear",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert unset_input(arguments) == {name: value for name, value in imagenet.items() if name not in arguments}

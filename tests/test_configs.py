"""Config names: bare ones, paths, and those that do not exist."""

from pathlib import Path

import pytest

from carsfg.configs import CONFIGS, find_config, find_configs
from carsfg.errors import InputError


@pytest.mark.parametrize("name", ["tl_exp3", "tl_exp3.yaml"])
def test_bare_names_are_found_where_shipped(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIGS / "tl_exp3.yaml"


def test_the_working_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tl_exp3.yaml").write_text("{}")
    assert find_config("tl_exp3") == Path("tl_exp3.yaml")


def test_paths_are_kept(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("{}")
    assert find_config(str(mine)) == mine


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no config 'tl_exp33'.*did you mean tl_exp3\?"):
        find_config("tl_exp33")


def test_the_first_config_names_the_experiment() -> None:
    words, experiment = find_configs(["-c", "tl_exp1", "--config=demo", "--data.val", "none"])
    demo, first = str(CONFIGS / "demo.yaml"), str(CONFIGS / "tl_exp1.yaml")
    assert words == ["--config", first, "--config", demo, "--data.val", "none"]
    assert experiment == "tl_exp1"


@pytest.mark.parametrize(
    "run",
    ["tl_exp1/version_3", "reference/tl_exp1", "reference/tl_exp1/resnet50/seed_0", "reference/tl_exp1/version_3"],
)
def test_the_config_that_a_run_left_keeps_its_name(run: str, tmp_path: Path) -> None:
    left = tmp_path / run / "config.yaml"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert find_configs(["--config", str(left)])[1] == "tl_exp1"


def test_without_config_there_is_no_experiment() -> None:
    assert find_configs(["--data.val", "none"]) == (["--data.val", "none"], None)

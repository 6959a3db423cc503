"""Config names: bare ones, paths, and those that do not exist."""

from pathlib import Path

import pytest

from carsfg.configs import CONFIGS, dropped_callbacks, find_config, find_configs, names_data
from carsfg.errors import InputError
from carsfg.run_record import RunRecord


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


def test_the_config_that_a_run_left_keeps_its_recorded_name(tmp_path: Path) -> None:
    left = tmp_path / "any" / "folder" / "config.yaml"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert find_configs(["--config", str(left)])[1] == "config"
    RunRecord(experiment="tl_exp1").write(left.parent)
    assert find_configs(["--config", str(left)])[1] == "tl_exp1"


@pytest.mark.parametrize(
    ("first", "second", "dropped"),
    [
        ("[carsfg.FaissRetrieval, {class_path: mine.One}]", "[{class_path: mine.One}]", "carsfg.FaissRetrieval"),
        ("{class_path: carsfg.FaissRetrieval}", "[]", "carsfg.FaissRetrieval"),
        ("[{class_path: carsfg.FaissRetrieval}]", "[carsfg.FaissRetrieval, mine.One]", None),
        ("[{class_path: carsfg.FaissRetrieval}]", None, None),
    ],
)
def test_callbacks_that_a_later_config_drops_are_named(
    first: str, second: str | None, dropped: str | None, tmp_path: Path
) -> None:
    words = []
    for name, listed in (("a.yaml", first), ("b.yaml", second)):
        (tmp_path / name).write_text(f"trainer: {{callbacks: {listed}}}" if listed else "trainer: {max_epochs: 1}")
        words += ["--config", str(tmp_path / name)]
    lines = list(dropped_callbacks(words))
    assert len(lines) == (dropped is not None)
    assert all(f"b.yaml replaces trainer.callbacks, so {dropped} will not run" in line for line in lines)


def test_a_config_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {}", encoding="utf-16")
    with pytest.raises(InputError, match="is not UTF-8"):
        list(dropped_callbacks(["--config", str(tmp_path / "a.yaml")]))


def test_without_config_there_is_no_experiment() -> None:
    assert find_configs(["--data.val", "none"]) == (["--data.val", "none"], None)


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        ("data: {class_path: mine.Cars}", [], True),
        ("data: mine.Cars", [], True),
        ("data: {init_args: {val: none}}", [], False),
        ("data: {val: none}", ["--data.root=x"], False),
        ("model: {}", ["--data=mine.Cars"], True),
        ("model: {}", ["--data.class_path", "mine.Cars"], True),
    ],
)
def test_the_class_of_the_data_is_named_or_not(text: str, words: list[str], named: bool, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert names_data(["fit", "--config", str(tmp_path / "a.yaml"), *words]) is named

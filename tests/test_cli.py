"""The command's front door: verbs, exit codes, and that asking for help costs nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import carsfg
from carsfg.cli import VERBS, main
from carsfg.errors import InputError, TrainingError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "carsfg", *words], capture_output=True, text=True, check=False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"carsfg {carsfg.__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)


def test_no_words_is_a_mistake() -> None:
    assert main([]) == 2


def test_unknown_verb_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fitt"]) == 2
    err = capsys.readouterr().err
    assert err == "carsfg: error: unknown verb 'fitt' (did you mean 'fit'?); see `carsfg --help`\n"


def test_help_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends the parser by SystemExit, as a signal ends a training."""
    assert main(["fit", "--config", "tl_exp1.yaml", "--print_config"]) == 0
    assert "backbone: resnet50" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(36, "File name too long", "x" * 300), 2, f"cannot use '{'x' * 200}': File name too long"),
        (PermissionError(13, "Permission denied", "ro/g"), 2, "cannot use 'ro/g': Permission denied"),
        (TrainingError("stopped"), 1, "stopped"),
        (InputError("wrong"), 2, "wrong"),
    ],
)
def test_errors_are_one_line(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr("carsfg.commands.export.main", fail)
    assert main(["export", "x"]) == code
    assert capsys.readouterr().err == f"carsfg: error: {said}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        words = [sys.executable, "-m", "carsfg", "data", "fetch", "there"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "carsfg: error: cannot write the output: No space left on device\n")


def test_names_that_are_no_text_are_printed(tmp_path: Path) -> None:
    """As old archives have them: the bytes come out as they were given."""
    words = [sys.executable, "-m", "carsfg", "data", "check", "caf\udce9"]
    done = subprocess.run(words, capture_output=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.returncode == 2
    assert done.stderr.startswith(b"carsfg: error: the folder caf\xe9 does not exist: ")


def test_the_process_ends_with_the_exit_code() -> None:
    result = run("fitt")
    assert (result.returncode, result.stdout) == (2, "")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from carsfg.cli import main; main(['--help']); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "numpy", "lightning", "jsonargparse", "rich", "scipy"):
        assert f"'{heavy}'" not in modules


def test_public_names() -> None:
    for name in carsfg.__all__:
        assert getattr(carsfg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = carsfg.Nothing


def test_carsfg_main_is_a_function_even_after_its_module_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    import carsfg.cli

    assert carsfg.main(["--version"]) == 0
    assert "carsfg" in capsys.readouterr().out

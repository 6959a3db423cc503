"""The command's front door: verbs, exit codes, and that asking for help costs nothing."""

import subprocess
import sys

import pytest

import carsfg
from carsfg.cli import VERBS, main


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
    assert err.startswith("carsfg: error: unknown verb 'fitt'")
    assert err.count("\n") == 1


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

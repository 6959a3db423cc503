"""Finding shipped configs by bare name."""

import difflib
from pathlib import Path

from carsfg.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
# beside the package in a checkout; inside it in a wheel
CONFIGS = next(
    (f for f in (_PACKAGE.parent / "configs", _PACKAGE / "configs") if (f / "demo.yaml").is_file()), _PACKAGE
)


def shipped_configs() -> list[str]:
    """List the names of the configs that come with the package, without their ending."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def find_config(name: str) -> Path:
    """Find a config: a path, or a bare name (`tl_exp3`) in the working folder, then among the shipped ones.

    Args:
        name: a path, or a bare name with or without its ending.

    Raises:
        InputError: there is none; the message names the shipped ones.
    """
    candidates = [name] if name.endswith((".yaml", ".yml", ".json")) else [name, f"{name}.yaml"]
    for folder in (Path(), CONFIGS):
        for candidate in candidates:
            if (folder / candidate).is_file():
                return folder / candidate
    known = shipped_configs()
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"shipped ones are {', '.join(known)}"
    raise InputError(f"no config {name!r} here or among the shipped ones; {hint}")


def find_configs(args: list[str]) -> tuple[list[str], str | None]:
    """Replace bare config names in a command line by their paths.

    Args:
        args: the words after the verb.

    Returns:
        The words, and the name of the experiment: that of the first config without its ending, or, for the
        `config.yaml` that a run has left in `EXPERIMENT/version_N/` or `reference/EXPERIMENT/`, that run's.

    Raises:
        InputError: a config does not exist.
    """
    found: list[str] = []
    experiment: str | None = None
    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in {"--config", "-c"}:
            found.append(word)
            continue
        name = value if equals else next(words, "")
        path = find_config(name)
        experiment = experiment or _experiment(path)
        found += ["--config", str(path)]
    return found, experiment


def _experiment(path: Path) -> str:
    run = path.absolute().parent
    if path.name != "config.yaml":
        return path.stem
    if run.name.startswith("version_"):
        return run.parent.name
    below = run.parts[len(run.parts) - run.parts[::-1].index("reference") :] if "reference" in run.parts else ()
    return below[0] if below else path.stem

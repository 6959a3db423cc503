"""Finding shipped configs by bare name."""

import difflib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from carsfg.errors import InputError
from carsfg.run_record import RunRecord

_PACKAGE = Path(__file__).resolve().parent
# beside the package in a checkout; inside it in a wheel
CONFIGS = next(
    (f for f in (_PACKAGE.parent / "configs", _PACKAGE / "configs") if (f / "demo.yaml").is_file()), _PACKAGE
)

OVERLAYS = ("demo", "gpu", "head_first")  # shipped configs that are not experiments


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


def dropped_callbacks(args: list[str]) -> Iterator[str]:
    """Report callbacks that a config drops, since a list replaces the one of the configs before it.

    Args:
        args: a command line with the paths of its configs.

    Yields:
        One line per config that drops some.
    """
    paths = [Path(path) for option, path in pairwise(args) if option == "--config"]
    before: set[str] = set()
    for path in paths:
        trainer = _read(path).get("trainer")
        listed = trainer.get("callbacks") if isinstance(trainer, dict) else None
        if listed is None:
            continue
        names = {_class_path(one) for one in (listed if isinstance(listed, list) else [listed])}
        if before - names:
            yield (
                f"{path.name} replaces trainer.callbacks, so {', '.join(sorted(before - names))} will not run: "
                "write `callbacks+:` to add to the list"
            )
        before = names


def names_data(args: list[str]) -> bool:
    """Return whether a command line or one of its configs names the class of the DataModule.

    Args:
        args: a command line with the paths of its configs.
    """
    if any(word.partition("=")[0] in ("--data", "--data.class_path") for word in args):
        return True
    paths = [Path(path) for option, path in pairwise(args) if option == "--config"]
    blocks = [_read(path).get("data") for path in paths]
    return any(isinstance(block, str) or (isinstance(block, dict) and "class_path" in block) for block in blocks)


def _class_path(callback: Any) -> str:
    return str(callback.get("class_path") if isinstance(callback, dict) else callback)


def _read(path: Path) -> dict[str, Any]:
    """Read a config; the parser reports what is wrong with its keys."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"the config {path} is not UTF-8 text: save it as UTF-8") from None
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"the config {path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    return found if isinstance(found, dict) else {}


def _experiment(path: Path) -> str:
    """Return the name of an experiment: that of its config, or the recorded one for the `config.yaml` of a run."""
    if path.name == "config.yaml":
        try:
            return RunRecord.read(path.parent).experiment or path.stem
        except InputError:
            pass  # not the folder of a run
    return path.stem

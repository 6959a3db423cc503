"""The command `carsfg`: every verb goes to its file in `commands/` before anything heavy is imported."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from carsfg import __version__
from carsfg.errors import InputError, TrainingError

# verb: (file in commands/, what it does)
VERBS = {
    "fit": ("train", "train a network as a config says, then test it once"),
    "validate": ("train", "score a checkpoint on the validation split"),
    "test": ("train", "score a checkpoint on the test split"),
    "predict": ("train", "embed and classify the test split with a checkpoint"),
    "evaluate": ("evaluate", "score a checkpoint by head, neighbours and linear probe, under every protocol"),
    "index": ("index", "make a gallery of a folder of images"),
    "search": ("search", "find the cars of a gallery that are most similar to a photo"),
    "app": ("app", "the same in the browser"),
    "report": ("report", "put all tested runs on one page, beside the paper's figures"),
    "export": ("export", "write a checkpoint as ONNX"),
    "data": ("data", "check the data, draw cars, or say where to get the data"),
}

USAGE = f"""usage: carsfg VERB ...

{chr(10).join(f"  {verb:<10}{what}" for verb, (_, what) in VERBS.items())}

  carsfg fit --config tl_exp3.yaml                       train as the paper's third experiment
  carsfg fit --config tl_exp3.yaml --config demo.yaml    the same on drawn cars, without any data
  carsfg VERB --help                                     what a verb takes
  carsfg --version
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: its words, without the program's name; those of this process by default.

    Returns:
        The exit code: 0 done, 2 the user's mistake, 1 anything else. A mistake is told in one line on stderr.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words == ["--version"]:
        print(f"carsfg {__version__}")  # noqa: T201
        return 0
    if not words or words[0] in {"-h", "--help", "help"}:
        print(USAGE, end="")  # noqa: T201
        return 0 if words else 2
    try:
        return _run(words[0], words[1:])
    except (InputError, TrainingError) as error:
        print(f"carsfg: error: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, InputError) else 1
    except BrokenPipeError:  # whoever read our output has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 1


def entry_point() -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(main())


def _run(verb: str, words: list[str]) -> int:
    if verb not in VERBS:
        raise InputError(f"unknown verb {verb!r}; carsfg knows {', '.join(VERBS)}")
    command = import_module(f"carsfg.commands.{VERBS[verb][0]}")
    given = [verb, *words] if VERBS[verb][0] == "train" else words
    return int(command.main(given))

"""The command `carsfg`: every verb is imported only when it is used, so that help and mistakes are answered at once."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType

from carsfg import __version__
from carsfg.errors import InputError, TrainingError, suggestion

# verb: (file in commands/, what it does)
VERBS = {
    "fit": ("train", "train a network from a config, then test it once"),
    "validate": ("train", "score a checkpoint on the validation split"),
    "test": ("train", "score a checkpoint on the test split"),
    "predict": ("predict", "classify photos without labels, or the test split, with a checkpoint"),
    "evaluate": ("evaluate", "score a checkpoint by head, k-NN, linear probe and retrieval, with intervals"),
    "index": ("index", "make a gallery of a folder of images"),
    "embed": ("embed", "write the embeddings of images or of a gallery to a file"),
    "search": ("search", "find the images of a gallery that are most similar to a photo"),
    "app": ("app", "search in the browser"),
    "report": ("report", "show all tested runs on one page, beside the paper's numbers"),
    "export": ("export", "write a checkpoint as ONNX"),
    "data": ("data", "check the data, draw cars, or get Stanford Cars"),
    "cache": ("cache", "list and delete decoded images and stored features"),
}

USAGE = f"""usage: carsfg VERB ...

{chr(10).join(f"  {verb:<10}{text}" for verb, (_, text) in VERBS.items())}

  carsfg fit --config tl_exp3.yaml                       train the third experiment of the paper
  carsfg fit --config tl_exp3.yaml --config demo.yaml    the same on drawn cars, without any data
  carsfg VERB --help                                     the arguments of a verb
  carsfg --version
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: words after the program's name; those of this process by default.

    Returns:
        Exit code: 0 done, 2 for a mistake of the user, 1 for anything else. A mistake is one line on stderr.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words == ["--version"]:
        print(f"carsfg {__version__}")  # noqa: T201
        return 0
    if not words or words[0] in {"-h", "--help", "help"}:
        print(USAGE, end="")  # noqa: T201
        return 0 if words else 2
    return _answer(words[0], words[1:])


def entry_point() -> None:
    """Run the command and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal cannot show
            stream.reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "backslashreplace")
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Answer SIGTERM as Ctrl-C; in a training Lightning's handler, which calls this one, stops after the batch."""
    if signal.getsignal(signal.SIGTERM) is _stop:
        raise KeyboardInterrupt


def _answer(verb: str, words: list[str]) -> int:
    """Run a verb and return its exit code; errors become one line."""
    try:
        code = _run(verb, words)
        sys.stdout.flush()  # a full disk shows here, and not after the exit code is known
    except (InputError, TrainingError) as error:
        return _fail(str(error), 2 if isinstance(error, InputError) else 1)
    except BrokenPipeError:  # the reader of our output has closed it
        _drop_output()
        return 1
    except OSError as error:  # a verb explains the files that it knows; these are the others
        return _fail(*_explain(error))
    except KeyboardInterrupt:
        return 1
    else:
        return code


def _explain(error: OSError) -> tuple[str, int]:
    """Return the message and the exit code of an error of the operating system."""
    from carsfg.files import FULL_DISK

    reason = error.strerror or error
    if error.filename is not None:
        verb = "write" if error.errno in FULL_DISK else "use"
        return f"cannot {verb} {os.fsdecode(error.filename)[:200]!r}: {reason}", 2
    what = "cannot write the output" if error.errno in FULL_DISK else "the operating system refused a request"
    return f"{what}: {reason}", 1


def _run(verb: str, words: list[str]) -> int:
    if verb not in VERBS:
        raise InputError(f"unknown verb {verb!r}{suggestion(verb, VERBS)}; see `carsfg --help`")
    with suppress(OSError):  # the working folder may have been deleted
        if os.getcwd() not in sys.path:  # noqa: PTH109 - pathlib is not needed for help
            sys.path.append(os.getcwd())  # noqa: PTH109 - for tasks and data of the user's own
    command = import_module(f"carsfg.commands.{VERBS[verb][0]}")
    try:
        return int(command.main([verb, *words] if VERBS[verb][0] == "train" else words))
    except SystemExit as end:  # after --help
        if end.code in (None, 0):
            return 0
        raise


def _fail(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    print(f"carsfg: error: {message}", file=sys.stderr)  # noqa: T201
    return code


def _drop_output() -> None:
    """Send what is left in the buffer nowhere, since writing it at the end of the process would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

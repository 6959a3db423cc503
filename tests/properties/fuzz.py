"""Read many damaged files with limited memory: `python -m tests.properties.fuzz FOLDER COUNT SEED KIND ...`.

The process writes `current.txt`, the mutation that it reads, so that a crash can be repeated, and prints a JSON object
with the numbers of files that were refused and read, what else happened, and the memory that was added.
"""

import contextlib
import faulthandler
import io
import json
import random
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from carsfg import hardware
from carsfg.errors import InputError

EXTRA_BYTES = 3 * 2**29  # of address space, beyond what the imports have taken
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """Files of one kind, and what reads them.

    `make` writes sound files into a folder; `read` reads them. One file, drawn among those that `mutate` names, is
    damaged each time.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    mutate: dict[str, Mutate]


@dataclass
class Outcome:
    """What happened to the files of one kind."""

    refused: int = 0
    read: int = 0
    wrong: list[str] = field(default_factory=list)
    added_mb: int = 0


def run(target: Target, folder: Path, count: int, seed: int) -> Outcome:
    """Damage and read a file `count` times."""
    folder.mkdir(parents=True)
    target.make(folder)
    target.read(folder)  # imports what it needs, and the sound files can be read
    sound = {name: (folder / name).read_bytes() for name in target.mutate}
    outcome, before = Outcome(), _peak_kb()
    limit = _address_space() + EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for number in range(count):
        random_ = random.Random(f"{seed} {number}")  # noqa: S311 - to be repeated
        name = random_.choice([*sound])
        (folder / name).write_bytes(target.mutate[name](sound[name], random_))
        (folder.parent / "current.txt").write_text(f"{folder.name} {number}: {name}")
        _try(lambda: target.read(folder), f"{number} ({name})", outcome)
        (folder / name).write_bytes(sound[name])
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outcome.added_mb = (_peak_kb() - before) // 1024
    return outcome


def explode(read: Callable[[Path], Any], folder: Path) -> Outcome:
    """Read a file that claims, or unpacks to, more than the memory."""
    (folder.parent / "current.txt").write_text(folder.name)
    outcome, before = Outcome(), _peak_kb()
    _try(lambda: read(folder), folder.name, outcome)
    outcome.added_mb = (_peak_kb() - before) // 1024
    return outcome


def _try(read: Callable[[], Any], name: str, outcome: Outcome) -> None:
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            read()
        outcome.read += 1
    except InputError as error:
        outcome.refused += 1
        if len(str(error).splitlines()) != 1 or not str(error).replace("\ud800", "").isprintable():
            outcome.wrong.append(f"{name}: not one printable line: {str(error)!r}")
    except BaseException as error:
        frames = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
        outcome.wrong.append(f"{name}: {type(error).__name__}: {str(error)[:200]!r} at {' '.join(frames[-6:])}")


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _small_memory(device: torch.device) -> int:  # noqa: ARG001 - as `free_memory`
    return 2**30


def main() -> None:
    """Run the targets that the command line names."""
    from tests.properties.bombs import BOMBS
    from tests.properties.targets import TARGETS

    hardware.free_memory = _small_memory  # so that every machine refuses the same
    faulthandler.enable()
    warnings.simplefilter("ignore")
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    found = {kind: vars(explode(read, folder / kind)) for kind, (_, read) in BOMBS.items() if (folder / kind).is_dir()}
    found |= {kind: vars(run(TARGETS[kind], folder / kind, count, seed)) for kind in sys.argv[4:]}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()

"""`carsfg cache`: list and delete decoded images and stored features."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carsfg.commands.options import option, parse, positional, run_verb
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.data.cache_folder import Cache

FOLDER = "data"
USAGE = """usage: carsfg cache VERB ...

  list      show what lies in the cache: content, data, size and last use
  clear     delete caches; training builds them anew when it needs them

  carsfg cache VERB --help    the arguments of a verb
"""


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Show the caches of decoded images and of features: content, data, size and last use.

    Attributes:
        folder: to search for caches.
    """

    folder: str = positional("data folder or photo folder, which is searched with its sub-folders", FOLDER)


@dataclass(frozen=True, kw_only=True)
class ClearOptions(ListOptions):
    """Delete caches; without --older_than and --data, all of them. Training builds them anew when it needs them.

    Attributes:
        older_than: least time since the last use, in days.
        data: folder of the images that a cache was made from.
    """

    older_than: float | None = option("delete only caches that were last used this many days ago or earlier", None)
    data: str | None = option("delete only caches that were made from images in this folder", None)


def main(args: Sequence[str]) -> int:
    """Run `carsfg cache`.

    Args:
        args: the words after `carsfg cache`.

    Returns:
        0, or 1 if a cache could not be deleted.

    Raises:
        InputError: the arguments are wrong, or the folder cannot be read.
    """
    return run_verb("cache", {"list": _list, "clear": _clear}, USAGE, args)


def _list(args: Sequence[str]) -> int:
    options = parse("cache list", ListOptions, args)
    from carsfg.data.cache_folder import list_caches

    _print(options.folder, list_caches(options.folder))
    return 0


def _clear(args: Sequence[str]) -> int:
    options = parse("cache clear", ClearOptions, args)
    if options.older_than is not None and options.older_than < 0:
        raise InputError(f"--older_than {options.older_than} must be 0 or more days")
    from carsfg.data.cache_folder import clear, list_caches, select
    from carsfg.files import show_bytes

    found = list_caches(options.folder)
    chosen = select(found, options.older_than, options.data)
    kept = clear(chosen)
    for cache in kept:
        print(f"carsfg: cannot delete {cache.path}", file=sys.stderr)  # noqa: T201
    deleted = [cache for cache in chosen if cache not in kept]
    freed = show_bytes(sum(cache.size_bytes for cache in deleted)) if deleted else "0 MB"
    print(f"{options.folder}: {len(deleted)} of {len(found)} caches deleted, {freed} freed")  # noqa: T201
    return 1 if kept else 0


def _print(folder: str, caches: "Sequence[Cache]") -> None:
    """Print caches as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from carsfg.files import show_bytes

    if not caches:
        print(f"{folder}: no caches")  # noqa: T201
        return
    table = Table("content", "size", "last used", "data", "cache", title=escape(folder), title_justify="left")
    for cache in caches:
        content = "unfinished" if cache.unfinished else cache.content or "unknown"
        place = str(cache.path.relative_to(folder))
        cells = (content, show_bytes(cache.size_bytes), _age(cache.used), cache.data or "unknown", place)
        table.add_row(*(escape(cell) for cell in cells))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{len(caches)} caches, {show_bytes(sum(cache.size_bytes for cache in caches))}")


def _age(used: float) -> str:
    """Return how long ago a time was, in words."""
    hours = max(0.0, time.time() - used) / 3600
    if hours < 1:
        return "less than an hour ago"
    return f"{round(hours)} h ago" if hours < 48 else f"{round(hours / 24)} days ago"

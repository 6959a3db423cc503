"""Progress bars: on stderr, and only where that is a terminal, so that log files and notebooks stay clean."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def stderr_console() -> "Console":
    """Return rich's console on stderr; that of a notebook is no terminal, whatever it says of itself."""
    from rich.console import Console

    console = Console(stderr=True)
    return Console(stderr=True, force_terminal=False, force_jupyter=False) if console.is_jupyter else console


def track(things: Iterable[T], title: str, shown: bool = True) -> Iterable[T]:
    """Go through things, with a bar that goes away when it is done.

    Args:
        things: any; a bar of things without a length has no end.
        title: what the bar says.
        shown: whether to show it at all.
    """
    from rich.progress import track as rich_track

    console = stderr_console()
    return rich_track(things, title, console=console, transient=True, disable=not (shown and console.is_terminal))

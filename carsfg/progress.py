"""Progress on stderr: bars on a terminal, and elsewhere a line now and then for long work, such as in a log file."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
FIRST_LINE_SECONDS = 30.0  # after which a line is written where no bar can be shown
LINE_GROWTH = 1.25  # the next line follows once the time has grown by this factor: 20 lines in the first hour
MAX_LINE_GAP_SECONDS = 600.0


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


class ImageProgress:
    """How many images are done, how many per second, and the time left.

    On a terminal this is a bar that appears after a second and disappears at the end. Elsewhere it is a line after 30
    seconds and then ever more rarely, at least every 10 minutes.

    Args:
        title: of the work, such as `embedding`.
        count: number of images.
        shown: whether to show it at all.
        done: images that are done already, and do not count for the speed.
    """

    def __init__(self, title: str, count: int, shown: bool = True, done: int = 0) -> None:
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = stderr_console()
        self.title, self.count, self.begun_at, self.done = title, count, done, done
        self.waits, self.writes = shown and console.is_terminal, shown and not console.is_terminal
        columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not self.waits)
        self.task = self.bar.add_task(title, total=count, completed=done, speed="")
        self.begun, self.next_line = time.monotonic(), FIRST_LINE_SECONDS

    def __enter__(self) -> "ImageProgress":
        return self

    def advance(self) -> None:
        """Count one image, and show the bar or write a line if it is time for that."""
        self.done += 1
        seconds = time.monotonic() - self.begun
        if not self.bar.disable:
            self.bar.update(self.task, advance=1, speed=f"{self._speed(seconds):,.0f} images/s")
        if self.waits and seconds > 1:
            self.bar.start()
            self.waits = False
        if self.writes and seconds >= self.next_line:
            print(self.line(seconds), file=sys.stderr, flush=True)  # noqa: T201
            self.next_line = min(max(seconds * LINE_GROWTH, FIRST_LINE_SECONDS), seconds + MAX_LINE_GAP_SECONDS)

    def line(self, seconds: float) -> str:
        """Return the progress as one line of text.

        Args:
            seconds: since the beginning.
        """
        speed = self._speed(seconds)
        left = (self.count - self.done) / speed if speed else 0.0
        return (
            f"{self.title}: {self.done:,} of {self.count:,} images, {speed:,.{0 if speed >= 10 else 1}f} images/s, "
            f"{time_left(left)} left"
        )

    def _speed(self, seconds: float) -> float:
        return (self.done - self.begun_at) / max(seconds, 1e-6)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def time_left(seconds: float) -> str:
    """Return a duration as `h:mm:ss`, or `m:ss` below an hour.

    Args:
        seconds: 0 or more.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

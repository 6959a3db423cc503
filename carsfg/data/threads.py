"""Process many files in threads, with a progress bar."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from carsfg.progress import stderr_console

T = TypeVar("T")


def in_threads(work: Callable[[int], T], count: int, title: str, progress: bool = True) -> Generator[T, None, None]:
    """Yield `work(0), ..., work(count - 1)` in order, computed in threads; only a few results wait in memory.

    Args:
        work: function of an index that releases the interpreter's lock, as Pillow's decoders do.
        count: number of indices.
        title: title of the progress bar.
        progress: show the bar on stderr if that is a terminal and the work takes more than a second.
    """
    workers = min(os.cpu_count() or 1, 16)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool, _Bar(title, count, progress) as bar:
        for index in range(count):
            waiting.append(pool.submit(work, index))
            if len(waiting) > 8 * workers:
                yield waiting.popleft().result()
                bar.advance()
        while waiting:
            yield waiting.popleft().result()
            bar.advance()


class _Bar:
    """Progress bar on stderr that appears after a second, and disappears at the end."""

    def __init__(self, title: str, count: int, progress: bool) -> None:
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        console = stderr_console()
        columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
        self.shown = progress and console.is_terminal
        self.bar = Progress(*columns, console=console, transient=True, disable=not self.shown)
        self.task = self.bar.add_task(title, total=count)
        self.begun = time.monotonic()

    def __enter__(self) -> "_Bar":
        return self

    def advance(self) -> None:
        """Count one result, and show the bar after the first second."""
        self.bar.advance(self.task)
        if self.shown and time.monotonic() - self.begun > 1:
            self.bar.start()
            self.shown = False  # started

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

"""Work on many files at once, with a progress bar."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from carsfg.progress import stderr_console

T = TypeVar("T")


def in_threads(work: Callable[[int], T], count: int, title: str, progress: bool = True) -> Generator[T, None, None]:
    """Do `work(0), ..., work(count - 1)` in threads and give the results in order, holding few of them.

    Args:
        work: should spend its time in code that releases the interpreter's lock, as Pillow's decoders do.
        count: how many there are.
        title: what the progress bar says.
        progress: show the bar on stderr, if that is a terminal and the work takes more than a second.
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
    """A progress bar on stderr that shows up after a second, and goes away when it is done."""

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
        """Count one more, and show the bar if it is time."""
        self.bar.advance(self.task)
        if self.shown and time.monotonic() - self.begun > 1:
            self.bar.start()
            self.shown = False  # it only needs starting once

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

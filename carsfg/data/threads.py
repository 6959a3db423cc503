"""Process many images in threads, with progress."""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from carsfg.progress import ImageProgress

S = TypeVar("S")
T = TypeVar("T")
WORKERS = min(os.cpu_count() or 1, 16)


def in_threads(
    work: Callable[[int], T], count: int, title: str, progress: bool = True, ahead: int = 0, start: int = 0
) -> Generator[T, None, None]:
    """Yield `work(start), ..., work(count - 1)` in order, computed in threads; only a few results wait in memory.

    The threads go on while the caller uses a result. A caller that collects results before it uses them names their
    number as `ahead`, so that the threads find enough to do meanwhile.

    Args:
        work: function of an index that releases the interpreter's lock, as Pillow's decoders do.
        count: end of the indices.
        title: title of the progress bar.
        progress: show progress on stderr, see `carsfg.progress`.
        ahead: number of results that may wait, at least; by default eight per thread.
        start: first index; those before it count as done.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(WORKERS)
    try:
        with ImageProgress(title, count, progress, start) as bar:
            for index in range(start, count):
                waiting.append(pool.submit(work, index))
                if len(waiting) > max(8 * WORKERS, ahead):
                    yield waiting.popleft().result()
                    bar.advance()
            while waiting:
                yield waiting.popleft().result()
                bar.advance()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, the results of waiting jobs are not used


def each_in_threads(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Return `work(item)` of each item, computed in threads; a single item needs none.

    Args:
        work: function that releases the interpreter's lock, as Pillow's do.
        items: any number.
    """
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, items))

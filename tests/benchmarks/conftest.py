"""The stop-watch: ours and a rival in turns, so that what else the machine does hits both."""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

import lightning
import pytest
import torch
import torchvision

Work = Callable[[], Any]


class Pair(Protocol):
    def __call__(
        self, work: str, rival: str, mark: str, ours: Work, theirs: Work, rounds: int = 5, warm: bool = True
    ) -> float: ...


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.fixture
def pair(benchmark: Any) -> Pair:
    """Measure `theirs / ours`, the median of several rounds, and put it into the benchmark's JSON."""

    def measure(
        work: str, rival: str, mark: str, ours: Work, theirs: Work, rounds: int = 5, warm: bool = True
    ) -> float:
        if warm:  # caches, lazy imports, memory
            ours()
            theirs()
        times = [(seconds(theirs), seconds(ours)) for _ in range(rounds)]
        ratio = median(slow / fast for slow, fast in times)
        benchmark.extra_info.update(
            work=work,
            rival=rival,
            mark=mark,
            ratio=ratio,
            ours_s=median(fast for _, fast in times),
            rival_s=median(slow for slow, _ in times),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            threads=torch.get_num_threads(),
            load=os.getloadavg()[0],
            versions=f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
            f"lightning {lightning.__version__}",
        )
        benchmark.pedantic(lambda: None)  # the figures are in extra_info; this makes the plugin write them
        return ratio

    return measure

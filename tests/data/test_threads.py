import threading

import pytest

from carsfg.data.threads import in_threads


def test_results_come_in_order() -> None:
    assert list(in_threads(lambda i: i * i, 500, "squares")) == [i * i for i in range(500)]


def test_nothing_to_do() -> None:
    assert list(in_threads(lambda i: i, 0, "nothing")) == []


def test_an_error_comes_out_and_ends_the_work() -> None:
    done: list[int] = []

    def work(index: int) -> int:
        if index == 3:
            raise KeyError(index)
        done.append(index)
        return index

    with pytest.raises(KeyError):
        list(in_threads(work, 100_000, "work"))
    assert len(done) < 1000


def test_results_wait_only_so_far_ahead() -> None:
    begun = threading.Semaphore(0)
    results = in_threads(lambda _: begun.release(), 100_000, "work")
    next(results)
    count = 0
    while begun.acquire(timeout=0.2):
        count += 1
    assert count < 1000
    results.close()

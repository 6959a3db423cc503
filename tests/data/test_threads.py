import threading
import time

import pytest

from carsfg.data.threads import each_in_threads, in_threads


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


def test_work_begins_in_the_middle() -> None:
    assert list(in_threads(lambda i: i, 10, "rest", start=7)) == [7, 8, 9]
    assert list(in_threads(lambda i: i, 10, "rest", start=10)) == []


def test_threads_go_on_while_a_result_is_used() -> None:
    """As a network uses a batch: so many more are computed meanwhile, without being asked for."""
    begun = threading.Semaphore(0)
    results = in_threads(lambda _: begun.release(), 10_000, "work", ahead=500)
    next(results)
    assert all(begun.acquire(timeout=5) for _ in range(500))
    results.close()


def test_what_waits_is_dropped_after_an_error() -> None:
    done: list[int] = []

    def work(index: int) -> None:
        time.sleep(0.01)
        done.append(index)

    results = in_threads(work, 10_000, "work", ahead=5000)
    next(results)
    results.close()
    assert len(done) < 500


def test_each_item_in_order() -> None:
    assert each_in_threads(lambda word: word * 2, ["a", "b", "c"]) == ["aa", "bb", "cc"]
    assert each_in_threads(str, [7]) == ["7"]
    assert each_in_threads(str, []) == []

"""Progress: a line now and then in a log file, with speed and time left, and nothing for short work."""

import io

import pytest
from rich.console import Console

from carsfg import progress
from carsfg.progress import ImageProgress, time_left


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def run(clock: Clock, count: int, seconds: float, shown: bool = True, done: int = 0) -> None:
    with ImageProgress("embedding", count, shown, done) as bar:
        for _ in range(count - done):
            clock.now += seconds
            bar.advance()


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, 100, 0.29)
    assert capsys.readouterr().err == ""


def test_long_work_says_speed_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, 4000, 1 / 32)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "embedding: 960 of 4,000 images, 32 images/s, 1:35 left"
    assert [line.split()[1] for line in lines] == ["960", "1,200", "1,500", "1,875", "2,344", "2,930", "3,663"]


def test_lines_become_rare(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, 10 * 3600, 1)
    lines = capsys.readouterr().err.splitlines()
    assert 70 < len(lines) < 80  # 10 hours; one every 10 minutes at last
    assert lines[0] == "embedding: 30 of 36,000 images, 1.0 images/s, 9:59:30 left"


def test_images_that_were_done_before_do_not_count_for_the_speed(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    run(clock, 1000, 1, done=900)
    assert capsys.readouterr().err.splitlines()[0] == "embedding: 930 of 1,000 images, 1.0 images/s, 1:10 left"


def test_quiet_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    run(clock, 4000, 1, shown=False)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "stderr_console", lambda: console)
    with ImageProgress("embedding", 400) as bar:
        for _ in range(200):
            clock.now += 0.02
            bar.advance()
        bar.bar.refresh()
    assert "200/400" in screen.getvalue()
    assert "50 images/s" in screen.getvalue()
    run(clock, 4000, 1)
    assert capsys.readouterr().err == ""  # no lines beside the bar


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (36_061, "10:01:01")])
def test_time_left(seconds: float, text: str) -> None:
    assert time_left(seconds) == text

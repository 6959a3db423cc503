"""Numbers as text."""

import math

import pytest

from carsfg.report.formatting import Value, number, percent, points, seconds


@pytest.mark.parametrize(
    ("value", "paper", "shown"),
    [
        (0.5, None, "50.00 %"),
        ((0.5, math.nan), None, "50.00 %"),
        ((0.5, 0.0123), None, "50.00 % ± 1.23"),
        ((0.5, 0.0123), 49.9, "50.00 % ± 1.23 (49.90)"),
        (None, 49.9, "-"),
    ],
)
def test_percent(value: Value, paper: float | None, shown: str) -> None:
    assert percent(value, paper, missing="-") == shown


def test_numbers_and_seconds() -> None:
    assert (number(1.23456), number((1.23456, 0.1), 2.0), number(None)) == ("1.2346", "1.2346 (2.0000)", "")
    assert (seconds(0.01234), seconds((1.5, math.nan), 0.0092), seconds(None, 1.0)) == ("0.012", "1.5 (0.0092)", "")


def test_differences_in_points() -> None:
    assert (points(0.5, 49.9), points((0.4, 0.1), 49.9)) == ("+0.10", "-9.90")
    assert points(None, 1.0) == points(0.5, None) == ""

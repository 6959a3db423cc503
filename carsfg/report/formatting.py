"""Numbers as text, the same in all tables."""

import math

Mean = tuple[float, float]  # mean, and standard deviation over seeds; the latter is not a number for one run
Value = Mean | float | None


def percent(value: Value, paper: float | None = None, missing: str = "") -> str:
    """Return a share as `82.10 % ± 0.08 (73.63)`.

    Args:
        value: share in 0..1, or its mean and standard deviation.
        paper: the paper's value in percent, shown in brackets.
        missing: text for None.
    """
    if value is None:
        return missing
    mean, deviation = _pair(value)
    shown = f"{100 * mean:.2f} %" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")
    return shown if paper is None else f"{shown} ({paper:.2f})"


def number(value: Value, paper: float | None = None, missing: str = "") -> str:
    """Return a number with four decimal places, the paper's value in brackets.

    Args:
        value: the number, or its mean and standard deviation, which is not shown.
        paper: the paper's number.
        missing: text for None.
    """
    if value is None:
        return missing
    mean, _ = _pair(value)
    return f"{mean:.4f}" if paper is None else f"{mean:.4f} ({paper:.4f})"


def seconds(value: Value, paper: float | None = None) -> str:
    """Return seconds with two significant digits, the paper's value in brackets.

    Args:
        value: seconds, or their mean and standard deviation, which is not shown.
        paper: the paper's seconds.
    """
    if value is None:
        return ""
    mean, _ = _pair(value)
    return f"{mean:.2g}" if paper is None else f"{mean:.2g} ({paper:.2g})"


def points(value: Value, paper: float | None) -> str:
    """Return the difference to the paper in percentage points, such as `+8.32`; empty without either.

    Args:
        value: share in 0..1, or its mean and standard deviation.
        paper: the paper's value in percent.
    """
    return "" if value is None or paper is None else f"{100 * _pair(value)[0] - paper:+.2f}"


def _pair(value: Mean | float) -> Mean:
    return value if isinstance(value, tuple) else (value, math.nan)

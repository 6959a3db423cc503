"""The lines that `fit` prints after its test: accuracy with its interval, weakest classes, most confused pairs."""

import csv
from collections.abc import Iterator
from pathlib import Path

from scipy.stats import binomtest

from carsfg.report.formatting import percent

LISTED = 5  # classes and pairs


def summary_lines(folder: Path) -> Iterator[str]:
    """Yield what the test of a run says in plain words; nothing for a run whose head was not scored.

    The interval of the accuracy is Wilson's score interval, over the test images.

    Args:
        folder: of the run, with `per_class.csv` and `confusions.csv`.
    """
    classes = [row for row in _rows(folder / "per_class.csv") if int(row["images"])]
    if not classes:
        return
    images, right = (sum(int(row[key]) for row in classes) for key in ("images", "correct"))
    low, high = binomtest(right, images).proportion_ci(0.95, "wilson")
    yield (
        f"top-1 {percent(right / images)} ({right:,} of {images:,} images; 95 % interval {percent(low)} to "
        f"{percent(high)})"
    )
    weakest = sorted(classes, key=lambda row: (float(row["accuracy"]), -int(row["images"])))[:LISTED]
    yield "weakest classes: " + "; ".join(f"{row['class']} {row['correct']} of {row['images']}" for row in weakest)
    wrong = [row for row in _rows(folder / "confusions.csv") if row["class"] != row["predicted"]]
    pairs = sorted(wrong, key=lambda row: -int(row["images"]))[:LISTED]
    if pairs:
        listed = "; ".join(f"{row['class']} taken for {row['predicted']} {row['images']}x" for row in pairs)
        yield f"most confused: {listed}"


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        return list(csv.DictReader(opened))

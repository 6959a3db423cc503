"""Confusions, counted by hand."""

import csv

from carsfg.report.confusions import (
    Pair,
    accuracy_by,
    confused_pairs,
    parsed_attributes,
    per_class,
    same_model_pairs,
    severity,
)
from tests.report.conftest import CONFUSIONS

ROWS = {(row["class"], row["predicted"]): int(row["images"]) for row in csv.DictReader(CONFUSIONS.splitlines())}


def test_pairs_most_often_confused() -> None:
    first, second, *_ = confused_pairs(ROWS)
    assert first == Pair("BMW M3 Sedan 2012", "BMW X5 SUV 2007", 4, 10)
    assert second == Pair("Audi S4 Sedan 2007", "Audi S4 Sedan 2012", 3, 10)
    assert len(confused_pairs(ROWS, most=1)) == 1


def test_pairs_of_one_model_in_both_directions() -> None:
    back = {("Audi S4 Sedan 2012", "Audi S4 Sedan 2007"): 2}
    assert same_model_pairs(ROWS | back) == [
        Pair("Audi S4 Sedan 2007", "Audi S4 Sedan 2012", 5, 22),
        Pair("Audi S4 Convertible 2007", "Audi S4 Sedan 2007", 1, 10),
    ]


def test_right_ones_of_each_class() -> None:
    assert per_class(ROWS) == {
        "Audi S4 Sedan 2007": (6, 10),
        "Audi S4 Sedan 2012": (8, 10),
        "BMW M3 Sedan 2012": (5, 10),
    }


def test_how_far_off() -> None:
    assert severity(ROWS) == {
        "right": 19,
        "same model, another year": 3,
        "same make and model, another body": 1,
        "same make, another model": 4,
        "same body, another make": 2,
        "neither make nor body": 1,
    }


def test_accuracy_by_what_the_name_says() -> None:
    values = parsed_attributes(truth for truth, _ in ROWS)
    assert accuracy_by(ROWS, values["make"]) == {"Audi": (14 / 20, 20), "BMW": (0.5, 10)}
    assert accuracy_by(ROWS, values["year"]) == {"2007": (0.6, 10), "2012": (13 / 20, 20)}

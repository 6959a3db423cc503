from pathlib import Path

import pytest
import torch

from carsfg.data.class_names import CarName, hierarchy, parse
from carsfg.data.sources.annotations import find_folder, read_class_names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("AM General Hummer SUV 2000", ("AM General", "Hummer", "SUV", 2000)),
        ("Aston Martin V8 Vantage Convertible 2012", ("Aston Martin", "V8 Vantage", "Convertible", 2012)),
        ("Land Rover LR2 SUV 2012", ("Land Rover", "LR2", "SUV", 2012)),
        ("Mercedes-Benz 300-Class Convertible 1993", ("Mercedes-Benz", "300-Class", "Convertible", 1993)),
        ("Audi 100 Wagon 1994", ("Audi", "100", "Wagon", 1994)),
        ("Audi TT Hatchback 2011", ("Audi", "TT", "Hatchback", 2011)),
        ("Fisker Karma Sedan 2012", ("Fisker", "Karma", "Sedan", 2012)),
        ("Ram C/V Cargo Van Minivan 2012", ("Ram", "C/V Cargo Van", "Minivan", 2012)),
        ("Dodge Sprinter Cargo Van 2009", ("Dodge", "Sprinter", "Van", 2009)),
        ("Ford E-Series Wagon Van 2012", ("Ford", "E-Series", "Van", 2012)),
        ("Ford F-450 Super Duty Crew Cab 2012", ("Ford", "F-450 Super Duty", "Cab", 2012)),
        ("Ford Ranger SuperCab 2011", ("Ford", "Ranger", "Cab", 2011)),
        ("Dodge Dakota Club Cab 2007", ("Dodge", "Dakota", "Cab", 2007)),
        ("Infiniti G Coupe IPL 2012", ("Infiniti", "G IPL", "Coupe", 2012)),
        (
            "Bentley Continental Supersports Conv. Convertible 2012",
            ("Bentley", "Continental Supersports", "Convertible", 2012),
        ),
        (
            "Rolls-Royce Phantom Drophead Coupe Convertible 2012",
            ("Rolls-Royce", "Phantom Drophead Coupe", "Convertible", 2012),
        ),
        ("BMW/M3 Coupe 2012", ("BMW", "M3", "Coupe", 2012)),
        ("BMW/M3/Coupe/2012", ("BMW", "M3", "Coupe", 2012)),
        ("Aston Martin/V8 Vantage Convertible", ("Aston Martin", "V8 Vantage", "Convertible", None)),
        ("smart fortwo Convertible 2012", ("smart", "fortwo", "Convertible", 2012)),
        ("Hyundai Elantra Touring Hatchback 2012", ("Hyundai", "Elantra Touring", "Hatchback", 2012)),
    ],
)
def test_names_that_say_their_body(name: str, parts: tuple[str, str, str, int]) -> None:
    assert parse(name) == CarName(*parts)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Acura Integra Type R 2001", "Coupe"),
        ("Buick Regal GS 2012", "Sedan"),
        ("Chevrolet Corvette Ron Fellows Edition Z06 2007", "Coupe"),
        ("Chevrolet TrailBlazer SS 2009", "SUV"),
        ("Chrysler 300 SRT-8 2010", "Sedan"),
        ("FIAT 500 Abarth 2012", "Hatchback"),
        ("Lamborghini Gallardo LP 570-4 Superleggera 2012", "Coupe"),
    ],
)
def test_names_that_do_not_say_their_body(name: str, body: str) -> None:
    assert parse(name).body == body


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Zeta Comet/X Roadster 2031", ("Zeta", "Comet/X Roadster", "Other", 2031)),
        ("Zeta Sedanette", ("Zeta", "Sedanette", "Other", None)),
        ("Zeta", ("Zeta", "", "Other", None)),
        ("Landau 12345", ("Landau", "12345", "Other", None)),
        ("", ("", "", "Other", None)),
    ],
)
def test_unknown_names(name: str, parts: tuple[str, str, str, int | None]) -> None:
    assert parse(name) == CarName(*parts)


def test_hierarchy() -> None:
    names = ["Volvo C30 Hatchback 2012", "Audi S4 Sedan 2007", "Audi TT Hatchback 2011", "Zeta Comet"]
    levels = hierarchy(names)
    assert {level: groups for level, (groups, _) in levels.items()} == {
        "make": ["Audi", "Volvo", "Zeta"],
        "body": ["Hatchback", "Other", "Sedan"],
        "year": ["2007", "2011", "2012", "Unknown"],
    }
    assert {level: of_class.tolist() for level, (_, of_class) in levels.items()} == {
        "make": [1, 0, 0, 2],
        "body": [0, 2, 0, 1],
        "year": [2, 0, 1, 3],
    }
    assert levels["make"][1].dtype == torch.int64


@pytest.mark.realdata
def test_all_real_names(real_root: Path) -> None:
    levels = hierarchy(read_class_names(find_folder(real_root)))
    assert {level: len(groups) for level, (groups, _) in levels.items()} == {
        "make": 49,
        "body": 9,
        "year": 16,
    }
    assert "Other" not in levels["body"][0]

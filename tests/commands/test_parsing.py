"""Messages of jsonargparse in one line, as it writes them for values inside others."""

from typing import Any

import pytest

from carsfg.commands.parsing import argument_names, one_line
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import suggestion

NESTED = """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'LightningDataModule'>, <class 'NoneType'>]
  Errors:
    - Parser key "drawn":
        Does not validate against any of the Union subtypes
        Subtypes: [<class 'DrawnCars'>, <class 'NoneType'>]
        Errors:
          - {reason}
          - Expected a <class 'NoneType'>
        Given value type: <class 'dict'>
        Given value: {{'classes': 'many'}}
    - Expected a <class 'NoneType'>
  Given value type: <class 'NestedArg'>
  Given value: NestedArg(key='drawn', val={{'classes': 'many'}})"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Parser key \"k\":\n  Expected a <class 'int'>. Got value: many", "k 'many' is not an integer"),
        (
            'Parser key "on_device":\n  Does not validate against any of the Union subtypes\n  Subtypes: [...]\n'
            "  Errors:\n    - Expected a <class 'bool'>\n    - Expected a typing.Literal['auto']\n"
            "  Given value type: <class 'str'>\n  Given value: perhaps",
            "on_device 'perhaps' is not true or false or one of 'auto'",
        ),
        (NESTED.format(reason="Option 'clases' is not accepted"), "unknown key 'clases'"),
        (
            NESTED.format(reason="Parser key \"classes\":\n              Expected a <class 'int'>. Got value: many"),
            "data.drawn.classes 'many' is not an integer",
        ),
        ("Option 'rot' is not accepted", "unknown key 'rot' (did you mean 'root'?)"),
    ],
)
def test_one_line(message: str, expected: str) -> None:
    assert one_line(message, {"root": "", "margin": ""}).startswith(expected)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Parser key \"data\":\n  Option 'rot' is not accepted",
            "unknown key 'rot' in data (did you mean 'data.root'?)",
        ),
        ("unrecognized arguments: --modell.lr=1", "unknown key 'modell.lr' (did you mean 'model.lr'?)"),
        (
            "Parser key \"model\":\n  Option 'widths' is not accepted",
            "unknown key 'widths' in model (it is an argument of CarCNN)",
        ),
    ],
)
def test_keys_are_suggested_from_the_same_block(message: str, expected: str) -> None:
    known = {"data.root": "", "model.dropout": "", "model.lr": "", "model.widths": "it is an argument of CarCNN"}
    assert one_line(message, known) == expected


def test_suggestions() -> None:
    assert suggestion("--data.rot", ["--data.root", "--knn"]) == " (did you mean '--data.root'?)"
    assert suggestion("quite else", ["--data.root"]) == ""


def test_arguments_passed_on_to_a_base_class_count() -> None:
    """Else `evaluate` would not take box crop and protocol from the run of a DataModule that adds one setting."""

    class Mine(StanfordCarsDataModule):
        def __init__(self, margin: float = 0.1, **kwargs: Any) -> None:
            super().__init__(margin=margin, **kwargs)

    names = argument_names(Mine)
    assert {"margin", "crop", "root", "drawn", "protocol", "image_size", "batch_size"} <= set(names)
    assert "kwargs" not in names

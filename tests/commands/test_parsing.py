"""Messages of jsonargparse in one line, as it writes them for values inside others."""

import pytest

from carsfg.commands.parsing import one_line, suggestion

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


def test_suggestions() -> None:
    assert suggestion("--data.rot", ["--data.root", "--knn"]) == " (did you mean '--data.root'?)"
    assert suggestion("quite else", ["--data.root"]) == ""

"""Make, body type and year of a car, from its class name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

UNKNOWN = "Unknown"
LONG_MAKES = ("AM General", "Aston Martin", "Land Rover")  # all other makes are the first word of the name

# body types and the words in class names that stand for them; the last match in a name counts
_BODIES = {
    "Cab": r"(?:(?:Club|Crew|Extended|Quad|Regular) )?Cab|SuperCab",
    "Convertible": r"(?:Conv\. )?Convertible",
    "Coupe": "Coupe",
    "Hatchback": "Hatchback",
    "Minivan": "Minivan",
    "SUV": "SUV",
    "Sedan": "Sedan",
    "Van": r"(?:(?:Cargo|Passenger|Wagon) )?Van",
    "Wagon": "Wagon",
}
_BODY = re.compile("|".join(rf"(?P<{body}>\b(?:{words})(?!\S))" for body, words in _BODIES.items()))

# models of Stanford Cars whose class name does not contain the body type
_BODY_OF_MODEL = {
    "300 SRT-8": "Sedan",
    "500 Abarth": "Hatchback",
    "Challenger SRT8": "Coupe",
    "Charger SRT-8": "Sedan",
    "Cobalt SS": "Coupe",
    "Corvette Ron Fellows Edition Z06": "Coupe",
    "Corvette ZR1": "Coupe",
    "Gallardo LP 570-4 Superleggera": "Coupe",
    "HHR SS": "Wagon",
    "Integra Type R": "Coupe",
    "Regal GS": "Sedan",
    "TL Type-S": "Sedan",
    "TrailBlazer SS": "SUV",
    "XK XKR": "Coupe",
}


@dataclass(frozen=True)
class CarName:
    """The parts of a class name.

    Attributes:
        make: such as `Aston Martin`.
        model: rest of the name, such as `V8 Vantage`.
        body: `Cab` (all pickups), `Convertible`, `Coupe`, `Hatchback`, `Minivan`, `SUV`, `Sedan`, `Van`,
            `Wagon`, or `Other` if the name does not tell.
        year: model year, such as 2012; `None` if the name does not end in one.
    """

    make: str
    model: str
    body: str
    year: int | None


def parse(name: str) -> CarName:
    """Split a class name into its parts.

    A slash behind the make separates it as a space does: `BMW/M3 Coupe 2012` is the name of nested folders.

    Args:
        name: such as `Aston Martin V8 Vantage Convertible 2012`; the make does not have to be one of Stanford Cars.
    """
    rest, year = name.strip(), None
    if match := re.search(r"(?:^|[\s/])((?:19|20)\d\d)$", rest):
        rest, year = rest[: match.start()], int(match[1])
    long = next((make for make in LONG_MAKES if rest == make or rest.startswith((f"{make} ", f"{make}/"))), None)
    make = long or re.split("[ /]", rest)[0]
    model = rest[len(make) :].strip(" /")
    body = _BODY_OF_MODEL.get(model, "Other")
    if matches := list(_BODY.finditer(model)):
        last = matches[-1]
        body = str(last.lastgroup)
        model = " ".join((model[: last.start()] + model[last.end() :]).split()).strip("/")
    return CarName(make, model, body, year)


def hierarchy(names: Sequence[str]) -> dict[str, tuple[list[str], Tensor]]:
    """Group classes by make, body type and year.

    Args:
        names: names of the C classes, in label order.

    Returns:
        For each of `make`, `body` and `year`: the G group names, sorted, and int64 (C,), the group of each class. With
        labels (N,), `groups[labels]` is the group of every sample.
    """
    cars = [parse(name) for name in names]
    return {
        "make": _group([car.make for car in cars]),
        "body": _group([car.body for car in cars]),
        "year": _group([str(car.year) if car.year else UNKNOWN for car in cars]),
    }


def class_attributes(names: Sequence[str], labels: Tensor) -> dict[str, list[str]]:
    """Return make, body type and year of each image, as columns by name.

    Args:
        names: names of the C classes, in label order.
        labels: int64 (N,), 0-based.
    """
    return {
        name: [values[group] for group in groups[labels].tolist()]
        for name, (values, groups) in hierarchy(names).items()
    }


def _group(values: list[str]) -> tuple[list[str], Tensor]:
    groups = sorted(set(values))
    place = {group: index for index, group in enumerate(groups)}
    return groups, torch.tensor([place[value] for value in values], dtype=torch.int64)

"""Catalogue of drawn cars: 14 invented makes x 14 bodies = 196 models, all of different shape.

The body sets the silhouette and the windows, the make sets lamps and grille, the model sets the wheels.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Body:
    """Side view of a car body.

    Lengths are in metres; x runs from the tail (0) to the nose (`length`), y is the height above the road.

    Attributes:
        word: body type in the class name, e.g. `Sedan`.
        length: distance from tail to nose.
        height: height of the roof above the road.
        belt: height of the lower edge of the windows.
        nose: height of the front edge of the bonnet.
        bonnet: length of the bonnet in metres.
        screen: horizontal length of the windscreen.
        rear: horizontal length of the rear window.
        boot: length of the boot lid, or of the bed of a pickup.
        clearance: height of the sills above the road.
        wheel: radius of a tyre.
        panes: positions of the window posts between the tail end (0) and the nose end (1) of the window band; there
            is one pane between each two neighbouring posts.
        extra: additional feature: "", "bed", "open", "spare", "rails", "clad" or "spoiler".
    """

    word: str
    length: float
    height: float
    belt: float
    nose: float
    bonnet: float
    screen: float
    rear: float
    boot: float
    clearance: float
    wheel: float
    panes: tuple[float, ...]
    extra: str = ""


@dataclass(frozen=True)
class Wheel:
    """A rim.

    Attributes:
        spokes: number of spokes; 0 draws a plain disc.
        width: fraction of the circumference covered by spokes, 0 to 1.
        hub: radius of the hub as a fraction of the rim's radius, 0 to 1.
    """

    spokes: int
    width: float
    hub: float


@dataclass(frozen=True)
class CarModel:
    """One class of drawn cars.

    Attributes:
        name: class name `Make Model Body Year`, in the format of Stanford Cars.
        body: silhouette and windows.
        lamp: shape of head and tail lamps, e.g. `round` or `slit`.
        grille: pattern of the grille, e.g. `bars` or `slot`.
        wheel: design of the rims.
    """

    name: str
    body: Body
    lamp: str
    grille: str
    wheel: Wheel


BODIES = (
    Body("Wagon", 4.1, 1.40, 0.86, 0.72, 1.00, 0.50, 0.22, 0.04, 0.22, 0.38, (0, 0.34, 0.67, 1), "rails"),
    Body("Cargo Van", 4.1, 2.00, 1.08, 0.86, 0.55, 0.50, 0.05, 0.00, 0.28, 0.38, (0.74, 1)),
    Body("Coupe", 3.9, 1.16, 0.80, 0.64, 1.40, 0.60, 1.00, 0.12, 0.16, 0.40, (0.30, 1), "spoiler"),
    Body("Crew Cab", 4.6, 1.66, 1.06, 0.98, 1.00, 0.36, 0.08, 1.40, 0.38, 0.45, (0, 0.5, 1), "bed"),
    Body("Sedan", 4.1, 1.38, 0.86, 0.72, 1.00, 0.50, 0.45, 0.80, 0.22, 0.38, (0, 0.5, 1)),
    Body("SUV", 3.8, 1.82, 1.06, 1.00, 0.90, 0.18, 0.06, 0.02, 0.42, 0.48, (0, 0.33, 0.67, 1), "spare"),
    Body("Convertible", 3.8, 1.22, 0.80, 0.66, 1.20, 0.42, 0.10, 0.85, 0.18, 0.39, (), "open"),
    Body("Hatchback", 3.4, 1.44, 0.90, 0.72, 0.80, 0.55, 0.38, 0.03, 0.22, 0.38, (0, 0.5, 1)),
    Body("Minivan", 4.1, 1.66, 0.94, 0.70, 0.50, 0.90, 0.22, 0.00, 0.24, 0.38, (0, 0.35, 0.7, 1)),
    Body("Extended Cab", 4.6, 1.62, 1.04, 0.94, 1.10, 0.40, 0.06, 1.95, 0.38, 0.45, (0.02, 0.3, 1), "bed"),
    Body("Hatchback", 2.5, 1.52, 0.92, 0.76, 0.32, 0.45, 0.16, 0.00, 0.22, 0.38, (0.1, 1)),
    Body("SUV", 3.9, 1.60, 1.00, 0.84, 0.85, 0.62, 0.75, 0.03, 0.34, 0.45, (0, 0.52, 1), "clad"),
    Body("Sedan", 4.8, 1.42, 0.90, 0.80, 1.15, 0.50, 0.85, 0.42, 0.22, 0.39, (0, 0.2, 0.6, 1)),
    Body("Van", 4.3, 2.10, 1.10, 0.92, 0.25, 0.35, 0.05, 0.00, 0.28, 0.38, (0, 0.26, 0.5, 0.76, 1)),
)
_MAKES = (  # make, its model names (one word each), lamp shape, grille pattern
    ("Meridian", "Lark Sonnet Vale", "round", "bars"),
    ("Dunmore", "D4 D6 D9", "slit", "mesh"),
    ("Aurora", "2 3 5", "square", "posts"),
    ("Kestrel", "Swift Gale Merlin", "tall", "split"),
    ("Belmont", "Regal Grand Royal", "twin", "cross"),
    ("Ostara", "Fern Moss Ivy", "wedge", "slot"),
    ("Galvian", "G20 G35 G50", "round", "frame"),
    ("Norvik", "Fjord Tarn Skerry", "slit", "bars"),
    ("Corvane", "Azul Rojo Verde", "square", "mesh"),
    ("Hartwell", "Ranger Drover Miller", "tall", "posts"),
    ("Juniper", "Jot Jig Jaunt", "twin", "split"),
    ("Lumen", "Alpha Beta Gamma", "wedge", "cross"),
    ("Estrada", "Norte Sur Oeste", "round", "slot"),
    ("Iridia", "100 200 300", "slit", "frame"),
)
_WHEELS = (
    Wheel(5, 0.45, 0.2), Wheel(0, 0.0, 0.55), Wheel(3, 0.4, 0.3), Wheel(12, 0.5, 0.2), Wheel(4, 0.35, 0.2),
    Wheel(6, 0.6, 0.5), Wheel(2, 0.45, 0.3), Wheel(8, 0.5, 0.5), Wheel(0, 0.0, 0.8), Wheel(10, 0.35, 0.3),
    Wheel(3, 0.7, 0.2), Wheel(5, 0.75, 0.4), Wheel(7, 0.3, 0.2), Wheel(4, 0.7, 0.5),
)  # fmt: skip
SPEC_FILE = "drawn_cars.json"
"""Name of the file that marks a folder of drawn cars: version and spec as JSON."""
MODEL_COUNT = len(BODIES) * len(_MAKES)
"""Number of models in the catalogue, 196."""


def car_model(label: int) -> CarModel:
    """Return the model of a label. The result does not depend on the number of classes that are drawn.

    The first 14 labels have 14 different bodies and wheels, and four makes. Each combination of body and make occurs
    once.

    Args:
        label: class label, 0 to `MODEL_COUNT` - 1.
    """
    row, column = divmod(label, len(BODIES))
    make, models, lamp, grille = _MAKES[(row + column % 4) % len(_MAKES)]
    body = BODIES[column]
    model = "C/V" if label == 1 else models.split()[column % 3]
    if column in {10, 12}:  # these body words occurred before; the suffix keeps names unique
        model += " S"
    year = 2012 - (label * 5) % 16
    name = f"{make} {model} {body.word} {2012 if label == 1 else year}"
    return CarModel(name, body, lamp, grille, _WHEELS[(column + 5 * row) % len(_WHEELS)])

"""The catalogue of the drawn cars: 14 invented makes x 14 bodies = 196 models, each with its own look.

A body gives the silhouette and the windows, a make the face (lamps and grille), and the model the wheels.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Body:
    """A side view, in about metres: x runs from the tail (0) to the nose (`length`), y up from the road.

    Attributes:
        word: the body type as it stands in the class name.
        length: from tail to nose.
        height: of the roof.
        belt: height of the window line.
        nose: height of the bonnet's front edge.
        bonnet: length of the bonnet.
        screen: horizontal run of the windscreen.
        rear: horizontal run of the rear glass.
        boot: length of the boot lid, or of the open bed.
        clearance: height of the sills above the road.
        wheel: radius of a tyre.
        panes: window posts as shares of the window band, from the tail; one pane lies between each two.
        extra: what else marks the body: "", "bed", "open", "spare", "rails", "clad" or "spoiler".
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
    """A rim: its spokes, the share of the rim's edge that they take, and the hub's share of its radius."""

    spokes: int
    width: float
    hub: float


@dataclass(frozen=True)
class CarModel:
    """One class of drawn cars.

    Attributes:
        name: `Make Model Body Year`, as the real class names are built.
        body: silhouette and windows.
        lamp: form of the head and tail lamps.
        grille: pattern of the grille.
        wheel: the rims.
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
_FACES = (  # make, models of one word each, lamp, grille
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
MOST = len(BODIES) * len(_FACES)
"""How many models there are."""


def car_model(label: int) -> CarModel:
    """The model of a 0-based label below `MOST`; it does not depend on how many classes are drawn.

    The first 14 labels have 14 bodies and 14 wheels and share four makes; each body meets each make once.

    Args:
        label: 0-based.
    """
    row, column = divmod(label, len(BODIES))
    make, models, lamp, grille = _FACES[(row + column % 4) % len(_FACES)]
    body = BODIES[column]
    model = "C/V" if label == 1 else models.split()[column % 3]
    if column in {10, 12}:  # the second body of the same word
        model += " S"
    year = 2012 - (label * 5) % 16
    name = f"{make} {model} {body.word} {2012 if label == 1 else year}"
    return CarModel(name, body, lamp, grille, _WHEELS[(column + 5 * row) % len(_WHEELS)])

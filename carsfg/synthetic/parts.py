"""Flat parts of a drawn car: wheels, lamps, grille, sills, doors and what else is put onto its body."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carsfg.synthetic.catalogue import Body, CarModel

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Patch = tuple[Points, Colour]
"""Corners (n, 3) in space (x to the nose, y up, z to the viewer) and what fills them."""

HALF = 0.78
"""Half a car's width."""
_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)
_LAMPS = {  # outlines (n, 2): outwards from the middle of the lamp, up from its upper edge
    "round": [_CIRCLE * 0.15 - (0, 0.14)],
    "twin": [_CIRCLE * 0.09 + (shift, -0.12) for shift in (-0.1, 0.1)],
    "square": [np.array([(-0.14, -0.22), (-0.14, 0), (0.14, 0), (0.14, -0.22)])],
    "slit": [np.array([(-0.22, -0.09), (-0.22, 0), (0.22, 0), (0.22, -0.09)])],
    "tall": [np.array([(-0.07, -0.4), (-0.07, 0), (0.07, 0), (0.07, -0.4)])],
    "wedge": [np.array([(0.16, 0.02), (-0.22, -0.16), (0.16, -0.16)])],
}
_CORNERS = {"slit": (0.4, 0.08), "tall": (0.1, 0.36), "wedge": (0.32, 0.14), "twin": (0.3, 0.14)}
_BARS = {"bars": (4, 0, 0.045), "posts": (0, 6, 0.045), "mesh": (3, 5, 0.045), "cross": (1, 1, 0.1)}


@dataclass(frozen=True)
class Coat:
    """The colours of one car in one picture; none of them depends on its class.

    `sun` says how much brighter a face that looks up is than an upright one; it is negative in light from below.
    """

    paint: Colour
    trim: Colour
    glass: Colour
    tyre: Colour
    arch: Colour
    inside: Colour
    rim: Colour
    spoke: Colour
    lamp: Colour
    tail: Colour
    stripe: Colour | None
    sun: float


def shade(colour: Colour, factor: float) -> Colour:
    """A colour times a factor, kept within 0..255.

    Args:
        colour: RGB, each 0..255.
        factor: below 1 it darkens.
    """
    red, green, blue = (min(255, max(0, int(part * factor))) for part in colour)
    return red, green, blue


def side(points: ArrayLike, z: ArrayLike) -> Points:
    """Put a side view's points (n, 2) at a depth, or at a depth each (n,).

    Args:
        points: (n, 2), x and y in about metres, as in `Body`.
        z: the depth, 0 in the car's middle, towards the viewer.
    """
    flat = np.asarray(points, dtype=np.float64)
    return np.column_stack([flat, np.broadcast_to(z, len(flat))])


def box(x0: float, x1: float, y0: float, y1: float, colour: Colour) -> Patch:
    """A rectangle on the near side.

    Args:
        x0: its end towards the tail, in about metres, as are the next three.
        x1: its end towards the nose.
        y0: its lower edge, above the road.
        y1: its upper edge.
        colour: what fills it.
    """
    return side([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], HALF), colour


def panel(x: float, z0: float, z1: float, y0: float, y1: float, colour: Colour) -> Patch:
    """A rectangle on the front (x is the car's length) or on the tail (x is 0).

    Args:
        x: where it stands, in about metres, as are the next four.
        z0: its far edge, from the car's middle.
        z1: its near edge, likewise.
        y0: its lower edge, above the road.
        y1: its upper edge.
        colour: what fills it.
    """
    return np.array([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]), colour


def disc(x: float, y: float, z: float, radius: float, colour: Colour, floor: float = -1.0) -> Patch:
    """A circle in a side view, cut off below `floor`.

    Args:
        x: of the centre, in about metres, as are the next three.
        y: of the centre, above the road.
        z: the depth, as in `side`.
        radius: from the centre.
        colour: what fills it.
        floor: the height, in about metres, below which nothing is drawn.
    """
    ring = _CIRCLE * radius + (x, y)
    ring[:, 1] = np.maximum(ring[:, 1], floor)
    return side(ring, z), colour


def wheel(model: CarModel, coat: Coat, x: float, turn: float) -> list[Patch]:
    """A near wheel in its arch, rolled by `turn` radians.

    Args:
        model: whose wheel it is.
        coat: its colours.
        x: of the hub, in about metres from the tail.
        turn: the angle, in radians.
    """
    radius, spokes = model.body.wheel, model.wheel.spokes
    patches = [disc(x, radius, HALF, radius * 1.16, coat.arch, model.body.clearance)]
    patches += [disc(x, radius, HALF, radius * share, fill) for share, fill in ((1, coat.tyre), (0.78, coat.rim))]
    half = min(np.pi / max(spokes, 1) * model.wheel.width, 0.5)
    for angle in turn + 2 * np.pi * np.arange(spokes) / max(spokes, 1):
        turns = angle + np.array([-half, half, 1.2, -1.2])
        reach = radius * np.array([0.74, 0.74, 0.12, 0.12])
        edge = np.stack([reach * np.cos(turns) + x, reach * np.sin(turns) + radius], 1)
        patches.append((side(edge, HALF), coat.spoke))
    patches.append(disc(x, radius, HALF, radius * 0.78 * model.wheel.hub, coat.spoke))
    return patches


def front(model: CarModel, coat: Coat) -> list[Patch]:
    """Bumper, grille and head lamps.

    Args:
        model: whose front it is.
        coat: its colours.
    """
    x, top, low = model.body.length + 0.005, model.body.nose - 0.12, model.body.clearance
    patches = [panel(x, -HALF, HALF, low, low + 0.12, coat.trim)]
    patches += _grille(model.grille, x, low + 0.16, top, coat)
    return patches + _lamps(model.lamp, x, top + 0.02, coat.lamp)


def tail(model: CarModel, coat: Coat) -> list[Patch]:
    """Bumper, number plate and tail lamps.

    Args:
        model: whose tail it is.
        coat: its colours.
    """
    low = model.body.clearance
    patches = [panel(-0.005, -HALF, HALF, low, low + 0.12, coat.trim)]
    patches.append(panel(-0.005, -0.2, 0.2, low + 0.16, low + 0.28, coat.rim))
    return patches + _lamps(model.lamp, -0.005, model.body.belt - 0.16, coat.tail)


def _lamps(kind: str, x: float, y: float, colour: Colour) -> list[Patch]:
    """Left and right lamp in the upright plane at x."""
    forms = [(form * (side, 1) + (side * (HALF - 0.2), y)) for side in (-1, 1) for form in _LAMPS[kind]]
    return [(np.column_stack([np.full(len(form), x), form[:, 1], form[:, 0]]), colour) for form in forms]


def _grille(kind: str, x: float, low: float, top: float, coat: Coat) -> list[Patch]:
    """The middle of the front: an opening in the trim's colour, with bars or a frame in the spokes' colour."""
    wide, tall = 0.36, top - low
    if kind == "slot":
        return [panel(x, -wide, wide, top - 0.3 * tall, top - 0.1 * tall, coat.trim)]
    if kind == "split":
        return [panel(x, z, z + 0.27, low, top, coat.trim) for z in (-0.32, 0.05)]
    if kind == "frame":
        inner = panel(x, 0.09 - wide, wide - 0.09, low + 0.09, top - 0.09, coat.trim)
        return [panel(x, -wide, wide, low, top, coat.spoke), inner]
    rows, posts, thick = _BARS[kind]
    patches = [panel(x, -wide, wide, low, top, coat.trim)]
    for y in np.linspace(low, top, rows + 2)[1:-1]:
        patches.append(panel(x, -wide, wide, y - thick / 2, y + thick / 2, coat.spoke))
    for z in np.linspace(-wide, wide, posts + 2)[1:-1]:
        patches.append(panel(x, z - thick / 2, z + thick / 2, low, top, coat.spoke))
    return patches


def side_lamps(model: CarModel, coat: Coat) -> list[Patch]:
    """Where the lamps reach round the corners.

    Args:
        model: whose lamps they are.
        coat: its colours.
    """
    wide, tall = _CORNERS.get(model.lamp, (0.2, 0.2))
    nose, high, belt = model.body.length - 0.02, model.body.nose - 0.12, model.body.belt - 0.16
    inner = model.body.length - wide
    head = [(nose, high), (nose, high - tall), (inner + wide * 0.4, high - tall), (inner, high)]
    back = [(0.02, belt), (0.02, belt - tall), (wide * 0.8, belt - tall), (wide * 0.8, belt)]
    return [(side(head, HALF), coat.lamp), (side(back, HALF), coat.tail)]


def flank(body: Body, coat: Coat) -> list[Patch]:
    """Sills, doors with their handles, a stripe and a mirror.

    Args:
        body: the side view.
        coat: its colours.
    """
    low, front, back = body.clearance, body.length - body.bonnet, max(body.boot, 0.5)
    high = low + (0.22 if body.extra in {"clad", "spare"} else 0.07)
    patches = [box(0.06, body.length - 0.06, low, high, coat.trim)]
    if coat.stripe:
        patches.append(box(0.1, body.length - 0.15, body.nose - 0.24, body.nose - 0.14, coat.stripe))
    shares = (0, 0.5, 0.95) if len(body.panes) > 2 else (0, 0.8)
    gaps = [front - 0.12 - (front - back) * share for share in shares]
    patches += [box(x - 0.012, x + 0.012, high, body.belt, coat.trim) for x in gaps]
    patches += [box(x + 0.06, x + 0.22, body.belt - 0.13, body.belt - 0.09, coat.trim) for x in gaps[1:]]
    patches.append(box(front - 0.3, front - 0.1, body.belt, body.belt + 0.12, coat.trim))
    return patches + _extra(body, coat)


def _extra(body: Body, coat: Coat) -> list[Patch]:
    """Roof rails, a spare wheel or a spoiler."""
    if body.extra == "rails":
        start, end = body.boot + body.rear, body.length - body.bonnet - body.screen
        return [box(start, end, body.height + 0.03, body.height + 0.08, coat.trim)]
    if body.extra == "spare":
        return [box(-0.16, 0, 0.65, 1.3, coat.tyre)]
    if body.extra == "spoiler":
        return [box(0.02, 0.34, body.belt + 0.1, body.belt + 0.16, coat.paint)]
    return []

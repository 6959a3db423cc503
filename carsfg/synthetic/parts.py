"""Flat parts on the body of a drawn car: wheels, lamps, grille, sills, doors and stripes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carsfg.synthetic.catalogue import Body, CarModel

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Patch = tuple[Points, Colour]
"""Filled polygon: corners (n, 3) in metres (x towards the nose, y up, z towards the viewer), and its colour."""

HALF_WIDTH = 0.78
"""Half the width of a car in metres."""
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_LAMPS = {  # outlines (n, 2) in metres; x: outwards from the lamp's centre, y: upwards from its upper edge
    "round": [_CIRCLE * 0.15 - (0, 0.14)],
    "twin": [_CIRCLE * 0.09 + (shift, -0.12) for shift in (-0.1, 0.1)],
    "square": [np.array([(-0.14, -0.22), (-0.14, 0), (0.14, 0), (0.14, -0.22)])],
    "slit": [np.array([(-0.22, -0.09), (-0.22, 0), (0.22, 0), (0.22, -0.09)])],
    "tall": [np.array([(-0.07, -0.4), (-0.07, 0), (0.07, 0), (0.07, -0.4)])],
    "wedge": [np.array([(0.16, 0.02), (-0.22, -0.16), (0.16, -0.16)])],
}
_SIDE_LAMPS = {  # width and height in metres
    "slit": (0.4, 0.08),
    "tall": (0.1, 0.36),
    "wedge": (0.32, 0.14),
    "twin": (0.3, 0.14),
}
_BARS = {  # number of rows, number of posts, thickness in metres
    "bars": (4, 0, 0.045),
    "posts": (0, 6, 0.045),
    "mesh": (3, 5, 0.045),
    "cross": (1, 1, 0.1),
}


@dataclass(frozen=True)
class Paintwork:
    """Colours (RGB) of one car in one image. They do not depend on the class.

    Attributes:
        paint: colour of the body.
        trim: colour of bumpers, sills, door gaps and grille openings.
        glass: colour of the windows.
        tyre: colour of the tyre around each rim.
        arch: colour of the wheel arches.
        inside: colour of the interior and of the bed.
        rim: colour of the rims and of the number plate.
        spoke: colour of the spokes and of the bars of the grille.
        lamp: colour of the head lamps.
        tail: colour of the tail lamps.
        stripe: colour of the stripe along the side; None draws no stripe.
        sun: relative brightness of upward faces compared with vertical ones, -0.4 to 0.4; negative: light from below.
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
    """Multiply a colour by a factor and clip it to 0..255.

    Args:
        colour: RGB values, each 0..255.
        factor: brightness factor; below 1 darkens, above 1 brightens.
    """
    red, green, blue = (min(255, max(0, int(part * factor))) for part in colour)
    return red, green, blue


def side(points: ArrayLike, z: ArrayLike) -> Points:
    """Add a depth to the points of a side view.

    Args:
        points: x and y in metres, (n, 2), in the coordinates of `Body`.
        z: depth in metres, one for all points or (n,); 0 is the middle of the car, positive is towards the viewer.

    Returns:
        Points in space, float (n, 3).
    """
    flat = np.asarray(points, dtype=np.float64)
    return np.column_stack([flat, np.broadcast_to(z, len(flat))])


def box(x0: float, x1: float, y0: float, y1: float, colour: Colour) -> Patch:
    """Return a rectangle on the side that faces the viewer. Lengths are in metres.

    Args:
        x0: position of the edge towards the tail.
        x1: position of the edge towards the nose.
        y0: height of the lower edge above the road.
        y1: height of the upper edge above the road.
        colour: RGB fill colour.
    """
    return side([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], HALF_WIDTH), colour


def panel(x: float, z0: float, z1: float, y0: float, y1: float, colour: Colour) -> Patch:
    """Return a rectangle on the front or on the tail. Lengths are in metres.

    Args:
        x: position of the plane: 0 at the tail, the length of the car at the front.
        z0: distance of the far edge from the middle of the car; positive is towards the viewer.
        z1: distance of the near edge from the middle of the car.
        y0: height of the lower edge above the road.
        y1: height of the upper edge above the road.
        colour: RGB fill colour.
    """
    return np.array([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]), colour


def disc(x: float, y: float, z: float, radius: float, colour: Colour, floor: float = -1.0) -> Patch:
    """Return a disc that is parallel to the side of the car. Lengths are in metres.

    Args:
        x: position of the centre, measured from the tail.
        y: height of the centre above the road.
        z: depth of the disc, see `side`.
        radius: distance from the centre to the edge.
        colour: RGB fill colour.
        floor: height below which the disc is cut off.
    """
    ring = _CIRCLE * radius + (x, y)
    ring[:, 1] = np.maximum(ring[:, 1], floor)
    return side(ring, z), colour


def wheel(model: CarModel, colours: Paintwork, x: float, turn: float) -> list[Patch]:
    """Return the patches of a wheel on the viewer's side, with its arch.

    Args:
        model: model that defines tyre size and rim.
        colours: colours of tyre, arch, rim and spokes.
        x: distance of the hub from the tail in metres.
        turn: rotation of the rim in radians.
    """
    radius, spokes = model.body.wheel, model.wheel.spokes
    patches = [disc(x, radius, HALF_WIDTH, radius * 1.16, colours.arch, model.body.clearance)]
    patches += [
        disc(x, radius, HALF_WIDTH, radius * share, fill) for share, fill in ((1, colours.tyre), (0.78, colours.rim))
    ]
    half = min(np.pi / max(spokes, 1) * model.wheel.width, 0.5)
    for angle in turn + 2 * np.pi * np.arange(spokes) / max(spokes, 1):
        turns = angle + np.array([-half, half, 1.2, -1.2])
        reach = radius * np.array([0.74, 0.74, 0.12, 0.12])
        edge = np.stack([reach * np.cos(turns) + x, reach * np.sin(turns) + radius], 1)
        patches.append((side(edge, HALF_WIDTH), colours.spoke))
    patches.append(disc(x, radius, HALF_WIDTH, radius * 0.78 * model.wheel.hub, colours.spoke))
    return patches


def front(model: CarModel, colours: Paintwork) -> list[Patch]:
    """Return the patches of bumper, grille and head lamps.

    Args:
        model: model that defines the positions, the grille and the lamps.
        colours: colours of trim, bars and lamps.
    """
    x, top, low = model.body.length + 0.005, model.body.nose - 0.12, model.body.clearance
    patches = [panel(x, -HALF_WIDTH, HALF_WIDTH, low, low + 0.12, colours.trim)]
    patches += _grille(model.grille, x, low + 0.16, top, colours)
    return patches + _lamps(model.lamp, x, top + 0.02, colours.lamp)


def tail(model: CarModel, colours: Paintwork) -> list[Patch]:
    """Return the patches of bumper, number plate and tail lamps.

    Args:
        model: model that defines the positions and the lamps.
        colours: colours of trim, number plate and lamps.
    """
    low = model.body.clearance
    patches = [panel(-0.005, -HALF_WIDTH, HALF_WIDTH, low, low + 0.12, colours.trim)]
    patches.append(panel(-0.005, -0.2, 0.2, low + 0.16, low + 0.28, colours.rim))
    return patches + _lamps(model.lamp, -0.005, model.body.belt - 0.16, colours.tail)


def _lamps(kind: str, x: float, y: float, colour: Colour) -> list[Patch]:
    """Return the left and the right lamp in the vertical plane at x."""
    forms = [(form * (side, 1) + (side * (HALF_WIDTH - 0.2), y)) for side in (-1, 1) for form in _LAMPS[kind]]
    return [(np.column_stack([np.full(len(form), x), form[:, 1], form[:, 0]]), colour) for form in forms]


def _grille(kind: str, x: float, low: float, top: float, colours: Paintwork) -> list[Patch]:
    """Return an opening in the colour of the trim, with bars or a frame in the colour of the spokes."""
    wide, tall = 0.36, top - low
    if kind == "slot":
        return [panel(x, -wide, wide, top - 0.3 * tall, top - 0.1 * tall, colours.trim)]
    if kind == "split":
        return [panel(x, z, z + 0.27, low, top, colours.trim) for z in (-0.32, 0.05)]
    if kind == "frame":
        inner = panel(x, 0.09 - wide, wide - 0.09, low + 0.09, top - 0.09, colours.trim)
        return [panel(x, -wide, wide, low, top, colours.spoke), inner]
    rows, posts, thick = _BARS[kind]
    patches = [panel(x, -wide, wide, low, top, colours.trim)]
    for y in np.linspace(low, top, rows + 2)[1:-1]:
        patches.append(panel(x, -wide, wide, y - thick / 2, y + thick / 2, colours.spoke))
    for z in np.linspace(-wide, wide, posts + 2)[1:-1]:
        patches.append(panel(x, z - thick / 2, z + thick / 2, low, top, colours.spoke))
    return patches


def side_lamps(model: CarModel, colours: Paintwork) -> list[Patch]:
    """Return the parts of head and tail lamps that are visible from the side.

    Args:
        model: model that defines the lamps.
        colours: colours of head and tail lamps.
    """
    wide, tall = _SIDE_LAMPS.get(model.lamp, (0.2, 0.2))
    nose, high, belt = model.body.length - 0.02, model.body.nose - 0.12, model.body.belt - 0.16
    inner = model.body.length - wide
    head = [(nose, high), (nose, high - tall), (inner + wide * 0.4, high - tall), (inner, high)]
    back = [(0.02, belt), (0.02, belt - tall), (wide * 0.8, belt - tall), (wide * 0.8, belt)]
    return [(side(head, HALF_WIDTH), colours.lamp), (side(back, HALF_WIDTH), colours.tail)]


def flank(body: Body, colours: Paintwork) -> list[Patch]:
    """Return the patches of sills, door gaps, door handles, stripe, mirror and the extra feature of the body.

    Args:
        body: body that defines the positions.
        colours: colours of trim, stripe and paint.
    """
    low, front, back = body.clearance, body.length - body.bonnet, max(body.boot, 0.5)
    high = low + (0.22 if body.extra in {"clad", "spare"} else 0.07)
    patches = [box(0.06, body.length - 0.06, low, high, colours.trim)]
    if colours.stripe:
        patches.append(box(0.1, body.length - 0.15, body.nose - 0.24, body.nose - 0.14, colours.stripe))
    shares = (0, 0.5, 0.95) if len(body.panes) > 2 else (0, 0.8)
    gaps = [front - 0.12 - (front - back) * share for share in shares]
    patches += [box(x - 0.012, x + 0.012, high, body.belt, colours.trim) for x in gaps]
    patches += [box(x + 0.06, x + 0.22, body.belt - 0.13, body.belt - 0.09, colours.trim) for x in gaps[1:]]
    patches.append(box(front - 0.3, front - 0.1, body.belt, body.belt + 0.12, colours.trim))
    return patches + _extra(body, colours)


def _extra(body: Body, colours: Paintwork) -> list[Patch]:
    """Return the patches of roof rails, spare wheel or spoiler."""
    if body.extra == "rails":
        start, end = body.boot + body.rear, body.length - body.bonnet - body.screen
        return [box(start, end, body.height + 0.03, body.height + 0.08, colours.trim)]
    if body.extra == "spare":
        return [box(-0.16, 0, 0.65, 1.3, colours.tyre)]
    if body.extra == "spoiler":
        return [box(0.02, 0.34, body.belt + 0.1, body.belt + 0.16, colours.paint)]
    return []

"""The solid body of a drawn car, as a list of flat patches in space, from the farthest to the nearest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carsfg.data.drawn_models import Body, CarModel

Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Patch = tuple[Points, Colour]
"""Corners (n, 3) in space (x to the nose, y up, z to the viewer) and what fills them."""

HALF = 0.78
"""Half a car's width."""
_CIRCLE = np.stack([np.cos(turns := np.linspace(0, 2 * np.pi, 25)[:-1]), np.sin(turns)], 1)


@dataclass(frozen=True)
class Coat:
    """The colours of one car in one picture; none of them depends on its class."""

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
    """How much brighter a face that looks up is than an upright one; negative when the light comes from below."""


def shade(colour: Colour, factor: float) -> Colour:
    """A colour times a factor, kept within 0..255."""
    red, green, blue = (min(255, max(0, int(part * factor))) for part in colour)
    return red, green, blue


def car_patches(model: CarModel, coat: Coat, towards: Points, turn: float) -> list[Patch]:
    """Lay out a car.

    Args:
        model: what to draw.
        coat: in which colours.
        towards: unit vector (3,) from the car to the viewer; a positive x shows the front, a negative one the tail.
        turn: how far the wheels have rolled, in radians.

    Returns:
        The patches in the order to paint them.
    """
    body = model.body
    hull, cabin = _hull(body), _cabin(body)
    patches = [_disc(x, body.wheel, -HALF + 0.1, body.wheel, shade(coat.tyre, 0.7)) for x in _axles(body)]
    patches += _skin(hull, np.full(len(hull), HALF), coat, towards)
    if body.extra == "bed":
        patches.append((_top(0.1, body.boot - 0.08, body.belt - 0.08, HALF - 0.1), coat.inside))
    patches += _front(model, coat) if towards[0] > 0 else _tail(model, coat)
    patches += _open_top(body, coat) if body.extra == "open" else _closed_top(body, cabin, coat, towards)
    patches.append((_side(hull, HALF), coat.paint))
    patches += _flank(body, coat)
    if body.extra != "open":
        patches += _windows(body, cabin, coat)
    patches += _side_lamps(model, coat)
    for x in _axles(body):
        patches += _wheel(model, coat, x, turn)
    return patches


def _axles(body: Body) -> tuple[float, float]:
    front = 0.5 if body.bonnet < 0.6 else 0.72
    rear = 1.0 if body.boot > 1 else 0.7
    return min(rear, body.length * 0.24), body.length - min(front, body.length * 0.2)


def _smooth(points: Points, rounds: int = 2) -> Points:
    """Cut the corners of an open line (n, 2), ends kept (Chaikin 1974)."""
    for _ in range(rounds):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return points


def _hull(body: Body) -> Points:
    """Outline (n, 2) below the windows, from the tail's foot over the top to the nose's foot."""
    deck = body.belt - (0.08 if body.extra == "bed" else 0.02)
    low = body.clearance
    line = [
        (0.05, low),
        (0, low + 0.1),
        (0, deck - 0.1),
        (0.02, deck),
        (0.15, deck),
        (max(body.boot, 0.2), body.belt),
    ]
    line += [(body.length - body.bonnet, body.belt), (body.length - 0.2, body.nose)]
    line += [(body.length, body.nose - 0.06), (body.length, low + 0.1), (body.length - 0.06, low)]
    return _smooth(np.array(line, dtype=np.float64), 1 if body.extra in {"bed", "spare"} else 2)


def _cabin(body: Body) -> Points:
    """Outline (n, 2) of the windows and the roof, from the tail forwards."""
    back, front = body.boot + 0.02, body.length - body.bonnet
    roof = [
        (back, body.belt),
        (back + body.rear, body.height),
        (front - body.screen, body.height),
        (front, body.belt),
    ]
    line = np.array(roof, dtype=np.float64)
    inner = _smooth(
        np.array([line[0] * 0.3 + line[1] * 0.7, line[1], line[2], line[2] * 0.7 + line[3] * 0.3])
    )
    return np.concatenate([line[:1], inner, line[3:]])


def _depth(body: Body, y: ArrayLike) -> Points:
    """Half the width at a height: cabins lean inwards."""
    share = np.clip((np.asarray(y, dtype=np.float64) - body.belt) / (body.height - body.belt), 0, 1)
    return HALF - 0.16 * share


def _side(points: ArrayLike, z: ArrayLike) -> Points:
    flat = np.asarray(points, dtype=np.float64)
    return np.column_stack([flat, np.broadcast_to(z, len(flat))])


def _top(x0: float, x1: float, y: float, z: float) -> Points:
    return np.array([(x0, y, z), (x1, y, z), (x1, y, -z), (x0, y, -z)])


def _skin(line: Points, depth: Points, coat: Coat, towards: Points) -> list[Patch]:
    """The strips between the near and the far edge of a line that face the viewer, lit from above."""
    found = []
    for (start, end), (near, far) in zip(
        zip(line[:-1], line[1:], strict=True), zip(depth[:-1], depth[1:], strict=True), strict=True
    ):
        normal = np.array([start[1] - end[1], end[0] - start[0]]) / max(float(np.hypot(*(end - start))), 1e-9)
        if normal @ towards[:2] > 0:
            strip = np.array([(*start, near), (*end, far), (*end, -far), (*start, -near)])
            found.append((strip, shade(coat.paint, 1 + coat.sun * (float(normal[1]) - 0.5))))
    return found


def _closed_top(body: Body, cabin: Points, coat: Coat, towards: Points) -> list[Patch]:
    depth = _depth(body, cabin[:, 1])
    patches = _skin(cabin, depth, coat, towards)
    ends = (cabin[0], cabin[1]) if towards[0] < 0 else (cabin[-1], cabin[-2])
    if body.word != "Cargo Van" or towards[0] > 0:
        low, high = (ends[0] * (1 - t) + ends[1] * t for t in (0.12, 1.05))
        wide, narrow = (float(_depth(body, point[1])) - 0.1 for point in (low, high))
        pane = np.array([(*low, wide), (*high, narrow), (*high, -narrow), (*low, -wide)])
        patches.append((pane, shade(coat.glass, 1.1)))
    return patches


def _open_top(body: Body, coat: Coat) -> list[Patch]:
    """Seats and a windscreen in its frame."""
    back, front, belt = body.boot, body.length - body.bonnet, body.belt
    patches: list[Patch] = [(_top(back, front, belt, HALF - 0.1), coat.inside)]
    for z in (-0.35, 0.35):
        for x in (back + 0.15, back + 0.75):
            seat = _smooth(
                np.array([(x, belt), (x - 0.05, belt + 0.3), (x + 0.16, belt + 0.3), (x + 0.2, belt)])
            )
            patches.append((_side(seat, z), coat.trim))
    top = front - body.screen
    for grow, colour in ((0.0, coat.trim), (0.06, shade(coat.glass, 1.1))):
        z, high = HALF - 0.08 - grow, body.height - grow
        pane = [
            (front, belt + grow, z),
            (top, high, z - 0.08),
            (top, high, 0.08 - z),
            (front, belt + grow, -z),
        ]
        patches.append((np.array(pane), colour))
    return patches


def _windows(body: Body, cabin: Points, coat: Coat) -> list[Patch]:
    depth = _depth(body, cabin[:, 1])
    patches: list[Patch] = [(_side(cabin, depth), shade(coat.paint, 0.94))]
    low, high = body.belt + 0.04, body.height - 0.1
    back, front = body.boot + 0.12, body.length - body.bonnet - 0.14
    share = (high - body.belt) / (body.height - body.belt)
    tops = (back + body.rear * share, front - body.screen * share)
    for start, end in zip(body.panes[:-1], body.panes[1:], strict=True):
        corners = [(s, y) for s, y in ((start, low), (start, high), (end, high), (end, low))]
        pane = []
        for s, y in corners:
            first, last = (back, front) if y == low else tops
            pane.append((first + s * (last - first) + (0.035 if s == start else -0.035), y))
        patches.append((_side(pane, _depth(body, [y for _, y in pane])), coat.glass))
    return patches


def _flank(body: Body, coat: Coat) -> list[Patch]:
    """Sills, doors, handles, stripe and whatever marks the body."""
    length, low = body.length, body.clearance
    tall = 0.22 if body.extra in {"clad", "spare"} else 0.07
    patches = [_box(0.06, length - 0.06, low, low + tall, coat.trim)]
    if coat.stripe:
        patches.append(_box(0.1, length - 0.15, body.nose - 0.24, body.nose - 0.14, coat.stripe))
    front, back = length - body.bonnet, max(body.boot, 0.5)
    doors = [
        front - 0.12 - (front - back) * share
        for share in ((0, 0.5, 0.95) if len(body.panes) > 2 else (0, 0.8))
    ]
    for x in doors:
        patches.append(_box(x - 0.012, x + 0.012, low + tall, body.belt, shade(coat.paint, 0.6)))
    for x in doors[1:]:
        patches.append(_box(x + 0.06, x + 0.22, body.belt - 0.13, body.belt - 0.09, coat.trim))
    patches.append(_box(front - 0.3, front - 0.1, body.belt, body.belt + 0.12, shade(coat.paint, 0.8)))
    if body.extra == "rails":
        patches.append(
            _box(
                body.boot + body.rear, front - body.screen, body.height + 0.03, body.height + 0.08, coat.trim
            )
        )
    if body.extra == "spare":
        patches.append(_box(-0.16, 0, 0.65, 1.3, coat.tyre))
    if body.extra == "spoiler":
        patches.append(_box(0.02, 0.34, body.belt + 0.1, body.belt + 0.16, shade(coat.paint, 0.7)))
    return patches


def _box(x0: float, x1: float, y0: float, y1: float, colour: Colour, z: float = HALF) -> Patch:
    return np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]), colour


def _disc(x: float, y: float, z: float, radius: float, colour: Colour, floor: float = -1.0) -> Patch:
    ring = _CIRCLE * radius + (x, y)
    ring[:, 1] = np.maximum(ring[:, 1], floor)
    return _side(ring, z), colour


def _wheel(model: CarModel, coat: Coat, x: float, turn: float) -> list[Patch]:
    body, wheel, radius = model.body, model.wheel, model.body.wheel
    patches = [_disc(x, radius, HALF, radius * 1.16, coat.arch, body.clearance)]
    patches += [
        _disc(x, radius, HALF + 0.02, radius, coat.tyre),
        _disc(x, radius, HALF + 0.02, radius * 0.78, coat.rim),
    ]
    for spoke in range(wheel.spokes):
        angle, half = turn + 2 * np.pi * spoke / wheel.spokes, np.pi / wheel.spokes * wheel.width
        half = min(half, 0.5)
        edge = [
            (r * np.cos(a), r * np.sin(a))
            for r, a in ((0.74, angle - half), (0.74, angle + half), (0.12, angle + 1.2), (0.12, angle - 1.2))
        ]
        patches.append((_side(np.array(edge) * radius + (x, radius), HALF + 0.02), coat.spoke))
    patches.append(_disc(x, radius, HALF + 0.02, radius * 0.78 * wheel.hub, coat.spoke))
    return patches


def _lamps(kind: str, z: float, y: float) -> list[Points]:
    """Outlines (n, 2) in (z, y) of one lamp on the front: centre z, top y, about .3 wide."""
    inward = -np.sign(z)
    forms = {
        "square": [[(-0.14, -0.22), (-0.14, 0), (0.14, 0), (0.14, -0.22)]],
        "slit": [[(-0.22, -0.09), (-0.22, 0), (0.22, 0), (0.22, -0.09)]],
        "tall": [[(-0.07, -0.4), (-0.07, 0), (0.07, 0), (0.07, -0.4)]],
        "wedge": [[(-0.16, 0.02), (0.22, -0.16), (-0.16, -0.16)]],
    }
    if kind == "round":
        return [_CIRCLE * 0.15 + (z, y - 0.14)]
    if kind == "twin":
        return [_CIRCLE * 0.09 + (z + shift, y - 0.12) for shift in (-0.1, 0.1)]
    return [np.array(form) * (inward, 1) + (z, y) for form in forms[kind]]


def _front(model: CarModel, coat: Coat) -> list[Patch]:
    body, x = model.body, model.body.length + 0.005
    top, low = body.nose - 0.12, body.clearance
    patches = [_panel(x, -HALF, HALF, low, low + 0.12, coat.trim)]
    patches += _grille(model.grille, x, low + 0.16, top, coat)
    for z in (-HALF + 0.2, HALF - 0.2):
        patches += [(_across(form, x), coat.lamp) for form in _lamps(model.lamp, z, top + 0.02)]
    return patches


def _tail(model: CarModel, coat: Coat) -> list[Patch]:
    top, low = model.body.belt - 0.16, model.body.clearance
    patches = [
        _panel(-0.005, -HALF, HALF, low, low + 0.12, coat.trim),
        _panel(-0.005, -0.2, 0.2, low + 0.16, low + 0.28, (225,) * 3),
    ]
    for z in (-HALF + 0.2, HALF - 0.2):
        patches += [(_across(form, -0.005), coat.tail) for form in _lamps(model.lamp, z, top)]
    return patches


def _across(form: Points, x: float) -> Points:
    return np.column_stack([np.full(len(form), x), form[:, 1], form[:, 0]])


def _panel(x: float, z0: float, z1: float, y0: float, y1: float, colour: Colour) -> Patch:
    return np.array([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]), colour


def _grille(kind: str, x: float, low: float, top: float, coat: Coat) -> list[Patch]:
    """The middle of the front: a dark opening and bright bars, or the other way round."""
    dark, bright = coat.trim, coat.spoke
    wide, tall = 0.36, top - low
    if kind == "slot":
        return [_panel(x, -wide, wide, top - 0.3 * tall, top - 0.1 * tall, dark)]
    if kind == "frame":
        return [
            _panel(x, -wide, wide, low, top, bright),
            _panel(x, -wide + 0.09, wide - 0.09, low + 0.09, top - 0.09, dark),
        ]
    if kind == "split":
        return [_panel(x, z, z + 0.27, low, top, dark) for z in (-0.32, 0.05)]
    patches = [_panel(x, -wide, wide, low, top, dark)]
    rows, posts = {"bars": (4, 0), "posts": (0, 6), "mesh": (3, 5), "cross": (1, 1)}[kind]
    thick = 0.1 if kind == "cross" else 0.045
    for y in np.linspace(low, top, rows + 2)[1:-1]:
        patches.append(_panel(x, -wide, wide, y - thick / 2, y + thick / 2, bright))
    for z in np.linspace(-wide, wide, posts + 2)[1:-1]:
        patches.append(_panel(x, z - thick / 2, z + thick / 2, low, top, bright))
    return patches


def _side_lamps(model: CarModel, coat: Coat) -> list[Patch]:
    """Where the lamps reach round the corners."""
    wide, tall = {"slit": (0.4, 0.08), "tall": (0.1, 0.36), "wedge": (0.32, 0.14), "twin": (0.3, 0.14)}.get(
        model.lamp, (0.2, 0.2)
    )
    length, nose, belt = model.body.length, model.body.nose - 0.12, model.body.belt - 0.16
    head = [
        (length - 0.02, nose),
        (length - 0.02, nose - tall),
        (length - wide * 0.6, nose - tall),
        (length - wide, nose),
    ]
    tail = [(0.02, belt), (0.02, belt - tall), (wide * 0.8, belt - tall), (wide * 0.8, belt)]
    return [(_side(head, HALF), coat.lamp), (_side(tail, HALF), coat.tail)]

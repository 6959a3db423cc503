"""The body of a drawn car as flat polygons in space, sorted from far to near."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from carsfg.synthetic.catalogue import Body, CarModel
from carsfg.synthetic.parts import (
    HALF_WIDTH,
    Colour,
    Paintwork,
    Patch,
    Points,
    disc,
    flank,
    front,
    shade,
    side,
    side_lamps,
    tail,
    wheel,
)  # fmt: skip


def car_patches(model: CarModel, colours: Paintwork, towards: Points, turn: float) -> list[Patch]:
    """Return all polygons of a car in drawing order.

    Args:
        model: class to draw.
        colours: paint, trim, glass and all other colours of the car.
        towards: unit vector (3,) from the car to the viewer; the front is visible if x is positive, else the tail.
        turn: rotation of the wheels in radians.
    """
    body = model.body
    hull, cabin = _hull(body), _cabin(body)
    patches = [disc(x, body.wheel, 0.1 - HALF_WIDTH, body.wheel, colours.tyre) for x in _axles(body)]
    patches += _skin(hull, np.full(len(hull), HALF_WIDTH), colours, towards)
    if body.extra == "bed":
        patches.append((_top(0.1, body.boot - 0.08, body.belt - 0.08), colours.inside))
    patches += front(model, colours) if towards[0] > 0 else tail(model, colours)
    patches += _open_top(body, colours) if body.extra == "open" else _closed_top(body, cabin, colours, towards)
    patches.append((side(hull, HALF_WIDTH), colours.paint))
    patches += flank(body, colours)
    if body.extra != "open":
        patches += _windows(body, cabin, colours)
    patches += side_lamps(model, colours)
    return patches + [patch for x in _axles(body) for patch in wheel(model, colours, x, turn)]


def _axles(body: Body) -> tuple[float, float]:
    """Return the x positions of the rear and the front axle in metres."""
    rear, front = 1.0 if body.boot > 1 else 0.7, 0.5 if body.bonnet < 0.6 else 0.72
    return min(rear, body.length * 0.24), body.length - min(front, body.length * 0.2)


def _smooth(points: ArrayLike, rounds: int = 2) -> Points:
    """Smooth an open line (n, 2) by cutting its corners (Chaikin 1974); the end points are kept."""
    line = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        before, after = line[:-1], line[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        line = np.concatenate([line[:1], cut[1:-1], line[-1:]])
    return line


def _hull(body: Body) -> Points:
    """Return the outline (n, 2) below the windows, clockwise from the bottom of the tail to the bottom of the nose."""
    low, length, deck = body.clearance, body.length, body.belt - (0.08 if body.extra == "bed" else 0.02)
    line = [(0.05, low), (0, low + 0.1), (0, deck - 0.1), (0.02, deck), (0.15, deck)]
    line += [(max(body.boot, 0.2), body.belt), (length - body.bonnet, body.belt), (length - 0.2, body.nose)]
    line += [(length, body.nose - 0.06), (length, low + 0.1), (length - 0.06, low)]
    return _smooth(line, 1 if body.extra in {"bed", "spare"} else 2)


def _cabin(body: Body) -> Points:
    """Return the outline (n, 2) of windows and roof, from the tail forwards."""
    back, front = body.boot + 0.02, body.length - body.bonnet
    a, b, c, d = np.array(
        [
            (back, body.belt),
            (back + body.rear, body.height),
            (front - body.screen, body.height),
            (front, body.belt),
        ]
    )
    return np.concatenate([[a], _smooth([a * 0.3 + b * 0.7, b, c, c * 0.7 + d * 0.3]), [d]])


def _depth(body: Body, y: ArrayLike) -> Points:
    """Return half the width of the car at heights (n,); the cabin gets narrower towards the roof."""
    share = (np.asarray(y, dtype=np.float64) - body.belt) / (body.height - body.belt)
    return np.asarray(HALF_WIDTH - 0.16 * np.clip(share, 0, 1))


def _top(x0: float, x1: float, y: float) -> Points:
    """Return a horizontal rectangle at height y."""
    z = HALF_WIDTH - 0.1
    return np.array([(x0, y, z), (x1, y, z), (x1, y, -z), (x0, y, -z)])


def _skin(line: Points, depth: Points, colours: Paintwork, towards: Points) -> list[Patch]:
    """Return the strips across the car along an outline that face the viewer, shaded by their slope."""
    patches = []
    for (start, end), (near, far) in zip(pairwise(line), pairwise(depth), strict=True):
        normal = np.array([start[1] - end[1], end[0] - start[0]]) / max(float(np.hypot(*(end - start))), 1e-9)
        if normal @ towards[:2] > 0:
            strip = np.array([(*start, near), (*end, far), (*end, -far), (*start, -near)])
            patches.append((strip, shade(colours.paint, 1 + colours.sun * (float(normal[1]) - 0.5))))
    return patches


def _across(low: Points, high: Points, wide: float, narrow: float, colour: Colour) -> Patch:
    """Return a pane across the car with half width `wide` at the bottom and `narrow` at the top."""
    return np.array([(*low, wide), (*high, narrow), (*high, -narrow), (*low, -wide)]), colour


def _closed_top(body: Body, cabin: Points, colours: Paintwork, towards: Points) -> list[Patch]:
    """Return roof and windscreen, or roof and rear window."""
    patches = _skin(cabin, _depth(body, cabin[:, 1]), colours, towards)
    foot, head = (cabin[0], cabin[1]) if towards[0] < 0 else (cabin[-1], cabin[-2])
    if body.word != "Cargo Van" or towards[0] > 0:
        low, high = (foot * (1 - share) + head * share for share in (0.12, 1.05))
        wide, narrow = (float(_depth(body, point[1])) - 0.1 for point in (low, high))
        patches.append(_across(low, high, wide, narrow, shade(colours.glass, 1 + 0.4 * colours.sun)))
    return patches


def _open_top(body: Body, colours: Paintwork) -> list[Patch]:
    """Return the seats and the framed windscreen of a convertible."""
    back, front, belt = body.boot, body.length - body.bonnet, body.belt
    patches: list[Patch] = [(_top(back, front, belt), colours.inside)]
    for z, x in ((z, x) for z in (-0.35, 0.35) for x in (back + 0.15, back + 0.75)):
        seat = [(x, belt), (x - 0.05, belt + 0.3), (x + 0.16, belt + 0.3), (x + 0.2, belt)]
        patches.append((side(_smooth(seat), z), colours.trim))
    for grow, colour in ((0.0, colours.trim), (0.06, shade(colours.glass, 1 + 0.4 * colours.sun))):
        low, high = np.array([(front, belt + grow), (front - body.screen, body.height - grow)])
        patches.append(_across(low, high, HALF_WIDTH - 0.08 - grow, HALF_WIDTH - 0.16 - grow, colour))
    return patches


def _windows(body: Body, cabin: Points, colours: Paintwork) -> list[Patch]:
    """Return the side of the cabin that faces the viewer, with its window panes."""
    patches: list[Patch] = [(side(cabin, _depth(body, cabin[:, 1])), shade(colours.paint, 1 - 0.3 * colours.sun))]
    low, high = body.belt + 0.04, body.height - 0.1
    back, front = body.boot + 0.12, body.length - body.bonnet - 0.14
    share = (high - body.belt) / (body.height - body.belt)
    feet, heads = (back, front), (back + body.rear * share, front - body.screen * share)
    for start, end in pairwise(body.panes):
        pane = [
            (first + post * (last - first) + gap, y)
            for (first, last), y, order in ((feet, low, 1), (heads, high, -1))
            for post, gap in ((start, 0.035), (end, -0.035))[::order]
        ]
        patches.append((side(pane, _depth(body, [y for _, y in pane])), colours.glass))
    return patches

"""One drawn picture: a backdrop, a car in some pose and light, and the tight box round the car."""

import colorsys

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from carsfg.data.drawn_body import HALF, Coat, Colour, Patch, Points, car_patches, shade
from carsfg.data.drawn_models import CarModel

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, 1-based, corners included, as Stanford Cars writes them."""

_FINE = 2  # drawn so many times larger, then averaged
_CUT = 1 / 12  # share of the cars that the frame cuts
_GREY = 1 / 25  # share of single-channel pictures


def draw_scene(model: CarModel, rng: Generator) -> tuple[Image.Image, Box]:
    """Draw one picture of a model, about 200 x 150 pixels, and find the car's box in it.

    Everything but the model comes from `rng`: pose, size, place, colours, backdrop, light, noise, what stands before the car.

    Args:
        model: the class.
        rng: the picture's own source of chance.

    Returns:
        The picture ("RGB", or "L" for about 1 in 25) and the tight box of the car's visible part: about 1 in 12 cars
        reach over the frame.
    """
    width, height = int(rng.integers(180, 281)), int(rng.integers(140, 181))
    canvas = Image.new("RGB", (width * _FINE, height * _FINE))
    draw = ImageDraw.Draw(canvas)
    patches, ground = _posed(model, rng, canvas.width, canvas.height)
    corners = np.concatenate([points for points, _ in patches])
    _backdrop(draw, rng, canvas.width, canvas.height, int(corners[:, 1].max()))
    road = canvas.getpixel((int(np.clip(ground[:, 0].mean(), 0, canvas.width - 1)), canvas.height - 1))
    draw.polygon(
        _flat(ground),
        fill=shade(road, rng.uniform(0.35, 0.7) if rng.random() < 0.5 else rng.uniform(1.4, 2.2)),
    )  # type: ignore[arg-type]
    for points, colour in patches:
        draw.polygon(_flat(points), fill=colour)
    low, high = corners.min(0) / _FINE, corners.max(0) / _FINE
    if rng.random() < 0.3:
        _before(draw, rng, low * _FINE, high * _FINE)
    picture = _lit(canvas.reduce(_FINE), rng)
    x1, y1 = (max(int(edge), 0) + 1 for edge in low)
    x2, y2 = (min(int(edge) + 1, limit) for edge, limit in zip(high, (width, height), strict=True))
    return (picture.convert("L") if rng.random() < _GREY else picture), (x1, y1, x2, y2)


def _flat(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points.tolist()]


def _colour(rng: Generator, low: float = 0.0, high: float = 1.0, strong: float = 1.0) -> Colour:
    """Any hue, brightness within bounds."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.random() * strong, rng.uniform(low, high))
    return int(red * 255), int(green * 255), int(blue * 255)


def _either(rng: Generator) -> Colour:
    """Dark or light, evenly."""
    return _colour(rng, 0.02, 0.3, 0.5) if rng.random() < 0.5 else _colour(rng, 0.7, 1.0, 0.5)


def _tail(rng: Generator) -> Colour:
    """Red or amber, or clear glass."""
    if rng.random() < 0.5:
        return int(rng.integers(140, 256)), int(rng.integers(0, 120)), int(rng.integers(0, 50))
    return int(rng.integers(0, 120)), int(rng.integers(120, 256)), int(rng.integers(140, 256))


def _coat(rng: Generator) -> Coat:
    """Colours of a car: what is light on one is dark on another, so that no pixel's brightness tells a class."""
    dark, light = _colour(rng, 0.02, 0.25, 0.5), _colour(rng, 0.7, 1.0, 0.3)
    trim = _either(rng)
    glass = _either(rng)
    rim, spoke = (dark, light) if rng.random() < 0.5 else (light, dark)
    tyre = _colour(rng, 0.05, 0.25, 0.3) if rng.random() < 0.5 else _colour(rng, 0.55, 0.95, 0.3)
    lamp = _colour(rng, 0.85, 1.0, 0.3) if rng.random() < 0.7 else _colour(rng, 0.1, 0.5, 0.3)
    return Coat(
        paint=_colour(rng, 0.12, 1.0, 0.9), trim=trim, glass=glass, tyre=tyre, arch=_either(rng),
        inside=_either(rng), rim=rim, spoke=spoke, lamp=lamp, tail=_tail(rng),
        stripe=_colour(rng) if rng.random() < 0.3 else None,
        sun=rng.uniform(-0.4, 0.4),
    )  # fmt: skip


def _posed(model: CarModel, rng: Generator, width: int, height: int) -> tuple[list[Patch], Points]:
    """The car's patches in pixels, far to near, and the shadow's outline."""
    yaw, pitch = np.radians(rng.uniform(-28, 45)), np.radians(rng.uniform(3, 17))
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    towards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    roll, lean, tall = np.radians(rng.normal(0, 2.5)), rng.normal(0, 0.05), rng.uniform(0.9, 1.1)
    screen = np.stack([right, -np.cross(towards, right) * tall])
    mirror = np.diag([1.0 if rng.random() < 0.5 else -1.0, 1.0])
    turned = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) @ np.array(
        [[1, lean], [0, 1]]
    )
    matrix = turned @ mirror @ screen
    patches = car_patches(model, _coat(rng), towards, rng.uniform(0, 2 * np.pi))
    length, reach = model.body.length, rng.uniform(0.1, 0.5, 4)
    ground = np.array([(-reach[0], 0, HALF + reach[1]), (length + reach[2], 0, HALF + reach[1]),
                       (length + reach[2], 0, -HALF), (-reach[0], 0, -HALF)]) @ matrix.T  # fmt: skip
    flat = [(points @ matrix.T, colour) for points, colour in patches]
    corners = np.concatenate([points for points, _ in flat])
    low, span = corners.min(0), np.ptp(corners, 0)
    scale = min(width * rng.uniform(0.6, 0.9) / span[0], height * rng.uniform(0.5, 0.85) / span[1])
    place = _place(rng, np.array([width, height]), span * scale)
    return [((points - low) * scale + place, colour) for points, colour in flat], (
        ground - low
    ) * scale + place


def _place(rng: Generator, frame: Points, span: Points) -> Points:
    """Where the car's box begins, in pixels: inside the frame with a margin, or cut by one of its sides."""
    margin = 2.0 * _FINE
    place = margin + (frame - span - 2 * margin) * (rng.random(), rng.uniform(0.4, 1))
    if rng.random() < _CUT:
        over = rng.uniform(0.05, 0.25) * span[0]
        place[0] = -over if rng.random() < 0.5 else frame[0] - span[0] + over
    return np.asarray(place)


def _backdrop(draw: ImageDraw.ImageDraw, rng: Generator, width: int, height: int, ground: int) -> None:
    """Sky, buildings and trees, pavement and road."""
    horizon = int(ground - height * rng.uniform(0.12, 0.4))
    _bands(draw, rng, (0, 0, width, horizon))
    x = -10.0
    while x < width:
        wide, tall = rng.uniform(0.08, 0.3) * width, rng.uniform(0.1, 0.9) * horizon
        if rng.random() < 0.65:
            _building(draw, rng, (x, horizon - tall, x + wide, horizon))
        elif rng.random() < 0.7:
            _tree(draw, rng, x + wide / 2, horizon, tall)
        x += wide * rng.uniform(0.7, 1.1)
    _bands(draw, rng, (0, horizon, width, height))
    kerb = horizon + int(rng.uniform(2, 14))
    draw.rectangle((0, horizon, width, kerb), fill=_colour(rng, 0.15, 0.95, 0.3))
    if rng.random() < 0.6:
        y, colour, start = rng.uniform(kerb, height), _colour(rng, 0.5, 1.0, 0.5), rng.uniform(0, 60)
        for step in range(6):
            draw.rectangle((start + step * 110 - 60, y, start + step * 110, y + 5), fill=colour)


def _bands(draw: ImageDraw.ImageDraw, rng: Generator, area: tuple[int, int, int, int]) -> None:
    """A gradient from one colour to another, top to bottom."""
    x0, y0, x1, y1 = area
    first, last = (np.array(_colour(rng, 0.08, 1.0, 0.55)) for _ in range(2))
    last = (first + last) / 2
    for y in range(y0, max(y1, y0 + 1), 4):
        red, green, blue = (first + (last - first) * (y - y0) / max(y1 - y0, 1)).astype(int).tolist()
        draw.rectangle((x0, y, x1, y + 3), fill=(red, green, blue))


def _building(draw: ImageDraw.ImageDraw, rng: Generator, area: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = area
    draw.rectangle(area, fill=_colour(rng, 0.1, 1.0, 0.6))
    wide, tall, colour = rng.uniform(7, 18), rng.uniform(8, 20), _colour(rng)
    for x in np.arange(x0 + wide * 0.5, x1 - wide, wide * 1.8).tolist():
        for y in np.arange(y0 + tall * 0.5, y1 - tall, tall * 1.8).tolist():
            draw.rectangle((x, y, x + wide, y + tall), fill=colour)


def _tree(draw: ImageDraw.ImageDraw, rng: Generator, x: float, foot: float, tall: float) -> None:
    draw.rectangle((x - 3, foot - tall / 2, x + 3, foot), fill=_colour(rng, 0.1, 0.6, 0.5))
    colour = _colour(rng, 0.1, 0.9, 0.8)
    for _ in range(4):
        left, top, size = x + rng.normal(-20, 12), foot - tall * rng.uniform(0.6, 1.0), rng.uniform(20, 50)
        draw.ellipse((left, top, left + size, top + size), fill=shade(colour, rng.uniform(0.8, 1.2)))


def _before(draw: ImageDraw.ImageDraw, rng: Generator, low: Points, high: Points) -> None:
    """A post or a bush between the viewer and the car."""
    x, colour = float(rng.uniform(low[0], high[0])), _colour(rng)
    if rng.random() < 0.5:
        wide = float(rng.uniform(3, 12))
        draw.rectangle((x, float(low[1]) - 40, x + wide, float(high[1]) + 12), fill=colour)
        return
    for _ in range(5):
        size, left = float(rng.uniform(14, 44)), x + float(rng.normal(0, 20))
        draw.ellipse(
            (left, high[1] + 10 - size, left + size, high[1] + 10), fill=shade(colour, rng.uniform(0.7, 1.2))
        )


def _lit(picture: Image.Image, rng: Generator) -> Image.Image:
    """Brightness, contrast, a slope of light across the picture, and the sensor's noise."""
    pixels = np.asarray(picture, dtype=np.float32)
    tall, wide, _ = pixels.shape
    slope = np.linspace(-1, 1, wide, dtype=np.float32) * rng.uniform(-0.3, 0.3)
    slope = slope + np.linspace(-1, 1, tall, dtype=np.float32)[:, None] * rng.uniform(-0.3, 0.3)
    middle, gain = rng.uniform(90, 165), rng.uniform(0.55, 1.1) * rng.uniform(0.9, 1.1, 3)
    pixels = (pixels - 128) * gain.astype(np.float32) * (1 + slope)[..., None] + np.float32(middle)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 8))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

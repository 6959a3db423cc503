"""One drawn picture: a backdrop, a car in some pose and light, and the tight box round the car."""

import colorsys

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from carsfg.synthetic.body import car_patches
from carsfg.synthetic.catalogue import CarModel
from carsfg.synthetic.parts import HALF, Coat, Colour, Patch, Points, shade

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, 1-based, corners included, as Stanford Cars writes them."""

_FINE = 2  # drawn so many times larger, then averaged
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)  # their roots' multiples fill 0..1 evenly (Kronecker)
_CUT = 1 / 12  # share of the cars that the frame cuts
_GREY = 1 / 25  # share of single-channel pictures


def draw_scene(model: CarModel, number: int, rng: Generator) -> tuple[Image.Image, Box]:
    """Draw one picture of a model, about 230 x 160 pixels, and find the car's box in it.

    Everything but the model comes from `rng`: pose, size, place, colours, backdrop, light, noise, and what
    stands before the car. Every part is as often light as dark, so that no pixel's brightness tells a class.

    Args:
        model: the class.
        number: which of the class's pictures; hues and tones step evenly through their range from one to the next,
            so that even a few pictures of a class are dark and light alike.
        rng: the picture's own source of chance.

    Returns:
        The picture ("RGB", or "L" for about 1 in 25) and the tight box of the car's visible part: about 1 in 12
        cars reach over the frame.
    """
    size = width, height = int(rng.integers(180, 281)), int(rng.integers(140, 181))
    even = np.modf((number + 0.5) * np.sqrt(_PRIMES))[0]
    canvas = Image.new("RGB", (width * _FINE, height * _FINE))
    draw = ImageDraw.Draw(canvas)
    patches, shadow = _posed(model, rng, canvas.size, even)
    corners = np.concatenate([points for points, _ in patches])
    low, high = corners.min(0), corners.max(0)
    _backdrop(draw, rng, canvas.size, int(high[1]), even)
    for points, colour in [shadow, *patches]:
        draw.polygon([(x, y) for x, y in points.tolist()], fill=colour)
    if rng.random() < 0.25:
        _before(draw, rng, low, high)
    picture = _lit(canvas.reduce(_FINE), rng)
    x1, y1 = (max(int(edge / _FINE), 0) + 1 for edge in low)
    x2, y2 = (min(int(edge / _FINE) + 1, limit) for edge, limit in zip(high, size, strict=True))
    return (picture.convert("L") if rng.random() < _GREY else picture), (x1, y1, x2, y2)


def draw_backdrop(rng: Generator) -> Image.Image:
    """Draw a picture without a car, "RGB", of the size and light that those with one have.

    Args:
        rng: the picture's own source of chance.
    """
    width, height = int(rng.integers(180, 281)), int(rng.integers(140, 181))
    canvas = Image.new("RGB", (width * _FINE, height * _FINE))
    foot = int(canvas.height * rng.uniform(0.6, 0.95))
    _backdrop(ImageDraw.Draw(canvas), rng, canvas.size, foot, rng.random(len(_PRIMES)))
    return _lit(canvas.reduce(_FINE), rng)


def _colour(rng: Generator, light: bool, strong: float = 0.8, hue: float | None = None) -> Colour:
    """Any hue; light or dark, mirrored about mid-grey, so that an even mix of both has no brightness of its own."""
    level = rng.uniform(17, 115)
    level = 255 - level if light else level
    chroma = np.array(colorsys.hsv_to_rgb(rng.random() if hue is None else hue, 1, 1))
    chroma -= chroma.mean()
    reach = min(level, 255 - level) * strong * rng.random() / np.abs(chroma).max()
    red, green, blue = (level + reach * chroma).astype(int).tolist()
    return red, green, blue


def _coat(rng: Generator, even: Points) -> Coat:
    """Colours of a car; each part is light or dark by itself, but a rim stands out from its tyre and its spokes."""
    paint, glass, tyre, trim, arch, inside, lamp, tail = (even[1:9] < 0.5).tolist()
    return Coat(
        paint=_colour(rng, paint, 1.0, even[0]), trim=_colour(rng, trim), glass=_colour(rng, glass),
        tyre=_colour(rng, tyre, 0.2), arch=_colour(rng, arch), inside=_colour(rng, inside),
        rim=_colour(rng, not tyre, 0.2), spoke=_colour(rng, tyre, 0.3), lamp=_colour(rng, lamp, 0.3),
        tail=_colour(rng, tail, 1.0), stripe=_colour(rng, rng.random() < 0.5) if rng.random() < 0.25 else None,
        sun=0.8 * even[9] - 0.4,
    )  # fmt: skip


def _posed(model: CarModel, rng: Generator, frame: tuple[int, int], even: Points) -> tuple[list[Patch], Patch]:
    """The car's patches in pixels (n, 2), far to near, and its shadow or its gleam on a wet road."""
    matrix, towards = _camera(rng)
    length, reach = model.body.length, rng.uniform(0.1, 0.5, 3)
    near, tail, nose = HALF + reach[0], -reach[1], length + reach[2]
    ground = np.array([(tail, 0, near), (nose, 0, near), (nose, 0, -HALF), (tail, 0, -HALF)]) @ matrix.T
    patches = car_patches(model, _coat(rng, even), towards, rng.uniform(0, 2 * np.pi))
    flat = [(points @ matrix.T, colour) for points, colour in patches]
    corners = np.concatenate([points for points, _ in flat])
    low, span = corners.min(0), np.ptp(corners, 0)
    scale = min(frame[0] * rng.uniform(0.6, 0.9) / span[0], frame[1] * rng.uniform(0.5, 0.85) / span[1])
    place = _place(rng, np.array(frame), span * scale) - low * scale
    shadow = ground * scale + place, _colour(rng, bool(even[12] < 0.5), 0.3)
    return [(points * scale + place, colour) for points, colour in flat], shadow


def _camera(rng: Generator) -> tuple[Points, Points]:
    """The matrix (2, 3) that turns, leans, stretches and mirrors a car onto the picture, and the viewer's side (3,)."""
    yaw, pitch = np.radians(rng.uniform(-28, 45)), np.radians(rng.uniform(3, 17))
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    towards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    down = -np.cross(towards, right) * rng.uniform(0.9, 1.1)
    roll, lean, mirror = np.radians(rng.normal(0, 2.5)), rng.normal(0, 0.05), rng.choice([-1, 1])
    turned = np.array([[np.cos(roll), lean - np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return turned @ np.stack([right * mirror, down]), towards


def _place(rng: Generator, frame: Points, span: Points) -> Points:
    """Where the car's box begins, in pixels: inside the frame with a margin, or cut by one of its sides."""
    margin = 2.0 * _FINE
    place = margin + (frame - span - 2 * margin) * (rng.random(), rng.uniform(0.4, 1))
    if rng.random() < _CUT:
        over = rng.uniform(0.05, 0.25) * span[0]
        place[0] = -over if rng.random() < 0.5 else frame[0] - span[0] + over
    return np.asarray(place)


def _backdrop(draw: ImageDraw.ImageDraw, rng: Generator, size: tuple[int, int], foot: int, even: Points) -> None:
    """Sky, buildings and trees, pavement and road, by day or by night; the car stands at the height `foot`."""
    (width, height), light = size, bool(even[10] < 0.5)
    horizon = int(foot - height * rng.uniform(0.12, 0.4))
    _bands(draw, rng, (0, 0, width, horizon), light)
    x = -10.0
    while x < width:
        wide, tall = rng.uniform(0.08, 0.3) * width, rng.uniform(0.1, 0.9) * max(horizon, 20)
        if rng.random() < 0.65:
            _building(draw, rng, (x, horizon - tall, x + wide, horizon), light)
        elif rng.random() < 0.7:
            _tree(draw, rng, x + wide / 2, horizon, tall)
        x += wide * rng.uniform(0.7, 1.1)
    _bands(draw, rng, (0, horizon, width, height), bool(even[11] < 0.5))
    kerb = horizon + int(rng.uniform(2, 14))
    draw.rectangle((0, horizon, width, kerb), fill=_colour(rng, light, 0.3))
    if rng.random() < 0.6:
        y, colour, start = rng.uniform(kerb, height), _colour(rng, not light), rng.uniform(-60, 0)
        for step in range(6):
            draw.rectangle((start + step * 110, y, start + step * 110 + 60, y + 5), fill=colour)


def _bands(draw: ImageDraw.ImageDraw, rng: Generator, area: tuple[int, int, int, int], light: bool) -> None:
    """A gradient from one colour to another, top to bottom."""
    x0, y0, x1, y1 = area
    first, last = (np.array(_colour(rng, light, 0.5)) for _ in range(2))
    for y in range(y0, y1, 4):
        red, green, blue = (first + (last - first) * (y - y0) / (y1 - y0)).astype(int).tolist()
        draw.rectangle((x0, y, x1, y + 3), fill=(red, green, blue))


def _building(draw: ImageDraw.ImageDraw, rng: Generator, area: tuple[float, float, float, float], light: bool) -> None:
    x0, y0, x1, y1 = area
    draw.rectangle(area, fill=_colour(rng, light))
    wide, tall, colour = rng.uniform(7, 18), rng.uniform(8, 20), _colour(rng, rng.random() < 0.5)
    for x in np.arange(x0 + wide * 0.5, x1 - wide, wide * 1.8).tolist():
        for y in np.arange(y0 + tall * 0.5, y1 - tall, tall * 1.8).tolist():
            draw.rectangle((x, y, x + wide, y + tall), fill=colour)


def _tree(draw: ImageDraw.ImageDraw, rng: Generator, x: float, foot: float, tall: float) -> None:
    draw.rectangle((x - 3, foot - tall / 2, x + 3, foot), fill=_colour(rng, rng.random() < 0.5))
    colour = _colour(rng, rng.random() < 0.5, 1.0)
    for _ in range(4):
        left, top, wide = x + rng.normal(-20, 12), foot - tall * rng.uniform(0.6, 1.0), rng.uniform(20, 50)
        draw.ellipse((left, top, left + wide, top + wide), fill=shade(colour, rng.uniform(0.8, 1.2)))


def _before(draw: ImageDraw.ImageDraw, rng: Generator, low: Points, high: Points) -> None:
    """A post or a bush between the viewer and the car."""
    x, foot, colour = (
        float(rng.uniform(low[0], high[0])),
        float(high[1]),
        _colour(rng, rng.random() < 0.5, 1.0),
    )
    if rng.random() < 0.5:
        draw.rectangle((x, float(low[1]) - 40, x + rng.uniform(3, 12), foot + 12), fill=colour)
        return
    for _ in range(5):
        size, left = float(rng.uniform(14, 44)), x + float(rng.normal(0, 20))
        draw.ellipse((left, foot + 10 - size, left + size, foot + 10), fill=shade(colour, rng.uniform(0.7, 1.2)))


def _lit(picture: Image.Image, rng: Generator) -> Image.Image:
    """Brightness, contrast, a slope of light across the picture, and the sensor's noise."""
    pixels = np.asarray(picture, dtype=np.float32)
    tall, wide, _ = pixels.shape
    slope = np.linspace(-1, 1, wide, dtype=np.float32) * rng.uniform(-0.3, 0.3)
    slope = slope + np.linspace(-1, 1, tall, dtype=np.float32)[:, None] * rng.uniform(-0.3, 0.3)
    middle, gain = rng.uniform(90, 165), rng.uniform(0.55, 1.1) * rng.uniform(0.9, 1.1, 3)
    pixels = (pixels - 128) * gain.astype(np.float32) * (1 + slope)[..., None] + np.float32(middle)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 5))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

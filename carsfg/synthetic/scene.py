"""One drawn image: background, car with random pose, colours and light, and the bounding box of the car."""

import colorsys

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from carsfg.synthetic.body import car_patches
from carsfg.synthetic.catalogue import CarModel
from carsfg.synthetic.parts import HALF_WIDTH, Colour, Paintwork, Patch, Points, shade

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, 1-based, both corners included (the format of Stanford Cars)."""

SUPERSAMPLING = 2
"""Images are drawn this many times larger, then averaged down, for smooth edges."""
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)  # multiples of their roots fill 0..1 evenly (Kronecker)
CHOICES = len(_PRIMES)
"""Number of evenly distributed choices per image, see `draw_scene`."""
_CUT_SHARE = 1 / 12  # fraction of cars that are cut by the image border
_GREY_SHARE = 1 / 25  # fraction of single-channel images


def draw_scene(model: CarModel, number: int, rng: Generator) -> tuple[Image.Image, Box]:
    """Draw one image of a model, about 230 x 160 pixels, and compute the bounding box of the car.

    Everything except the model is random: pose, size, position, colours, background, light, noise and an object in
    front of the car. Each part is light and dark equally often, so that brightness alone does not identify a class.

    Args:
        model: class to draw.
        number: index of the image within its class, from 0. Hue and lightness are not drawn independently but
            follow a low-discrepancy sequence over this index, so that even a few images of a class are balanced.
        rng: random generator of this image.

    Returns:
        The image (mode "RGB", or "L" for about 1 in 25) and the tight box of the visible part of the car. About 1 in
        12 cars extend beyond the border of the image.
    """
    size = width, height = int(rng.integers(180, 281)), int(rng.integers(140, 181))
    even = np.modf((number + 0.5) * np.sqrt(_PRIMES))[0]
    canvas = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    patches, shadow = _project(model, rng, canvas.size, even)
    corners = np.concatenate([points for points, _ in patches])
    low, high = corners.min(0), corners.max(0)
    draw_background(draw, rng, canvas.size, int(high[1]), even)
    for points, colour in [shadow, *patches]:
        draw.polygon([(x, y) for x, y in points.tolist()], fill=colour)
    if rng.random() < 0.25:
        _foreground(draw, rng, low, high)
    picture = apply_light(canvas.reduce(SUPERSAMPLING), rng)
    x1, y1 = (max(int(edge / SUPERSAMPLING), 0) + 1 for edge in low)
    x2, y2 = (min(int(edge / SUPERSAMPLING) + 1, limit) for edge, limit in zip(high, size, strict=True))
    return (picture.convert("L") if rng.random() < _GREY_SHARE else picture), (x1, y1, x2, y2)


def _colour(rng: Generator, light: bool, strong: float = 0.8, hue: float | None = None) -> Colour:
    """Return a light or dark colour; both ranges are symmetric about mid-grey, so that an even mix averages to grey."""
    level = rng.uniform(17, 115)
    level = 255 - level if light else level
    chroma = np.array(colorsys.hsv_to_rgb(rng.random() if hue is None else hue, 1, 1))
    chroma -= chroma.mean()
    reach = min(level, 255 - level) * strong * rng.random() / np.abs(chroma).max()
    red, green, blue = (level + reach * chroma).astype(int).tolist()
    return red, green, blue


def _paintwork(rng: Generator, even: Points) -> Paintwork:
    """Return random colours: parts are light or dark independently, except that rims contrast with tyres and spokes."""
    paint, glass, tyre, trim, arch, inside, lamp, tail = (even[1:9] < 0.5).tolist()
    return Paintwork(
        paint=_colour(rng, paint, 1.0, even[0]), trim=_colour(rng, trim), glass=_colour(rng, glass),
        tyre=_colour(rng, tyre, 0.2), arch=_colour(rng, arch), inside=_colour(rng, inside),
        rim=_colour(rng, not tyre, 0.2), spoke=_colour(rng, tyre, 0.3), lamp=_colour(rng, lamp, 0.3),
        tail=_colour(rng, tail, 1.0), stripe=_colour(rng, rng.random() < 0.5) if rng.random() < 0.25 else None,
        sun=0.8 * even[9] - 0.4,
    )  # fmt: skip


def _project(model: CarModel, rng: Generator, frame: tuple[int, int], even: Points) -> tuple[list[Patch], Patch]:
    """Return the polygons of the car in pixels (n, 2), far to near, and its shadow (or reflection on a wet road)."""
    matrix, towards = _camera(rng)
    length, reach = model.body.length, rng.uniform(0.1, 0.5, 3)
    near, tail, nose = HALF_WIDTH + reach[0], -reach[1], length + reach[2]
    ground = np.array([(tail, 0, near), (nose, 0, near), (nose, 0, -HALF_WIDTH), (tail, 0, -HALF_WIDTH)]) @ matrix.T
    patches = car_patches(model, _paintwork(rng, even), towards, rng.uniform(0, 2 * np.pi))
    flat = [(points @ matrix.T, colour) for points, colour in patches]
    corners = np.concatenate([points for points, _ in flat])
    low, span = corners.min(0), np.ptp(corners, 0)
    scale = min(frame[0] * rng.uniform(0.6, 0.9) / span[0], frame[1] * rng.uniform(0.5, 0.85) / span[1])
    place = _place(rng, np.array(frame), span * scale) - low * scale
    shadow = ground * scale + place, _colour(rng, bool(even[12] < 0.5), 0.3)
    return [(points * scale + place, colour) for points, colour in flat], shadow


def _camera(rng: Generator) -> tuple[Points, Points]:
    """Return a random projection (2, 3) from the car to the image, and the unit vector (3,) towards the viewer."""
    yaw, pitch = np.radians(rng.uniform(-28, 45)), np.radians(rng.uniform(3, 17))
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    towards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    down = -np.cross(towards, right) * rng.uniform(0.9, 1.1)
    roll, lean, mirror = np.radians(rng.normal(0, 2.5)), rng.normal(0, 0.05), rng.choice([-1, 1])
    turned = np.array([[np.cos(roll), lean - np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return turned @ np.stack([right * mirror, down]), towards


def _place(rng: Generator, frame: Points, span: Points) -> Points:
    """Return the upper left corner of the car in pixels: inside the image, or cut by the left or right border."""
    margin = 2.0 * SUPERSAMPLING
    place = margin + (frame - span - 2 * margin) * (rng.random(), rng.uniform(0.4, 1))
    if rng.random() < _CUT_SHARE:
        over = rng.uniform(0.05, 0.25) * span[0]
        place[0] = -over if rng.random() < 0.5 else frame[0] - span[0] + over
    return np.asarray(place)


def draw_background(draw: ImageDraw.ImageDraw, rng: Generator, size: tuple[int, int], foot: int, even: Points) -> None:
    """Draw sky, buildings, trees, pavement and road, by day or by night.

    Args:
        draw: Pillow drawing context of the canvas.
        rng: random generator of this image.
        size: width and height of the canvas in pixels.
        foot: y coordinate of the wheels' contact with the road in pixels.
        even: choices in 0..1, float (`CHOICES`,); two of them decide between day and night and between road tones.
    """
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
    """Draw a vertical gradient between two random colours."""
    x0, y0, x1, y1 = area
    first, last = (np.array(_colour(rng, light, 0.5)) for _ in range(2))
    for y in range(y0, y1, 4):
        red, green, blue = (first + (last - first) * (y - y0) / (y1 - y0)).astype(int).tolist()
        draw.rectangle((x0, y, x1, y + 3), fill=(red, green, blue))


def _building(draw: ImageDraw.ImageDraw, rng: Generator, area: tuple[float, float, float, float], light: bool) -> None:
    """Draw a house front with rows of windows."""
    x0, y0, x1, y1 = area
    draw.rectangle(area, fill=_colour(rng, light))
    wide, tall, colour = rng.uniform(7, 18), rng.uniform(8, 20), _colour(rng, rng.random() < 0.5)
    for x in np.arange(x0 + wide * 0.5, x1 - wide, wide * 1.8).tolist():
        for y in np.arange(y0 + tall * 0.5, y1 - tall, tall * 1.8).tolist():
            draw.rectangle((x, y, x + wide, y + tall), fill=colour)


def _tree(draw: ImageDraw.ImageDraw, rng: Generator, x: float, foot: float, tall: float) -> None:
    """Draw a trunk and a crown of four discs."""
    draw.rectangle((x - 3, foot - tall / 2, x + 3, foot), fill=_colour(rng, rng.random() < 0.5))
    colour = _colour(rng, rng.random() < 0.5, 1.0)
    for _ in range(4):
        left, top, wide = x + rng.normal(-20, 12), foot - tall * rng.uniform(0.6, 1.0), rng.uniform(20, 50)
        draw.ellipse((left, top, left + wide, top + wide), fill=shade(colour, rng.uniform(0.8, 1.2)))


def _foreground(draw: ImageDraw.ImageDraw, rng: Generator, low: Points, high: Points) -> None:
    """Draw a post or a bush in front of the car."""
    x, foot = float(rng.uniform(low[0], high[0])), float(high[1])
    colour = _colour(rng, rng.random() < 0.5, 1.0)
    if rng.random() < 0.5:
        draw.rectangle((x, float(low[1]) - 40, x + rng.uniform(3, 12), foot + 12), fill=colour)
        return
    for _ in range(5):
        size, left = float(rng.uniform(14, 44)), x + float(rng.normal(0, 20))
        draw.ellipse((left, foot + 10 - size, left + size, foot + 10), fill=shade(colour, rng.uniform(0.7, 1.2)))


def apply_light(picture: Image.Image, rng: Generator) -> Image.Image:
    """Change brightness, contrast and white balance, add a gradient of light and sensor noise.

    Args:
        picture: RGB image.
        rng: random generator of this image.
    """
    pixels = np.asarray(picture, dtype=np.float32)
    tall, wide, _ = pixels.shape
    slope = np.linspace(-1, 1, wide, dtype=np.float32) * rng.uniform(-0.3, 0.3)
    slope = slope + np.linspace(-1, 1, tall, dtype=np.float32)[:, None] * rng.uniform(-0.3, 0.3)
    middle, gain = rng.uniform(90, 165), rng.uniform(0.55, 1.1) * rng.uniform(0.9, 1.1, 3)
    pixels = (pixels - 128) * gain.astype(np.float32) * (1 + slope)[..., None] + np.float32(middle)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 5))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

"""Answers of a visual search as a figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from carsfg.plots.neighbours import SIDE, Found, Pixels, neighbour_figure
from carsfg.search.answer import Answer
from carsfg.search.display import printable
from carsfg.search.thumbnails import Thumbnails


def answer_figure(
    rows: Sequence[tuple[str, Image.Image, Answer]], thumbnails: Thumbnails, truths: Sequence[str] | None = None
) -> Figure:
    """Draw each photo beside its matches, each with class and similarity.

    Args:
        rows: name, RGB image and answer of each photo.
        thumbnails: small JPEG pictures, one per gallery image.
        truths: the classes of the photos, to mark matches as right or wrong; None if they are unknown.
    """
    known: Sequence[str | None] = truths or [None] * len(rows)
    found = [_found(*row, thumbnails, truth) for row, truth in zip(rows, known, strict=True)]
    return neighbour_figure(found, "photos and the most similar cars")


def _found(name: str, image: Image.Image, answer: Answer, thumbnails: Thumbnails, truth: str | None) -> Found:
    note = "" if answer.known is None else f"known car?\n{'likely' if answer.is_known else 'unlikely'}"
    images = [_square(thumbnails[match.place]) for match in answer.matches]
    names = [f"{match.similarity:.3f}  {printable(match.name)}" for match in answer.matches]
    found = np.stack(images) if images else np.empty((0, SIDE, SIDE, 3), np.uint8)
    right = None if truth is None else [match.name == truth for match in answer.matches]
    return Found(_square(image), printable(name), np.nan, found, names, right, note)


def _square(image: Image.Image) -> Pixels:
    """Fit an image into a white square; `ImageOps.pad` may make a thin image 0 pixels wide."""
    width, height = (max(1, round(side * SIDE / max(image.size))) for side in image.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(image.convert("RGB").resize((width, height)), ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(square)

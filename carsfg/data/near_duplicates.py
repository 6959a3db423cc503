"""Near duplicates: images that show the same photograph, saved anew, resized, or made darker or grey."""

import numpy as np
import numpy.typing as npt
from PIL import Image

CELLS_SIDE = 16
MIN_CORRELATION = 0.97
"""Of the differences between neighbouring cells. Between different images, 0.97 was not reached: the largest value was
0.966 between scanned digits of the same class, 0.75 between 2,000 crops of Stanford Cars (with their copies), and 0.36
between drawn cars. Copies of these images as JPEG of quality 85, or of 90 % of their size, have 0.99 or more; copies
that are cut by 2 % on each side have 0.80 to 0.98, and may be missed."""
ROWS_AT_ONCE = 1024

Cells = npt.NDArray[np.uint8]


def grey_cells(image: Image.Image) -> Cells:
    """Return an image shrunk to 16 x 16 grey cells, uint8 (16, 16).

    Args:
        image: picture of any size and mode.
    """
    return np.asarray(image.convert("L").resize((CELLS_SIDE, CELLS_SIDE), Image.Resampling.BOX))


def near_duplicates(cells: Cells, min_correlation: float = MIN_CORRELATION) -> npt.NDArray[np.int64]:
    """Return the pairs of images whose grey cells differ from their neighbours in the same way.

    That is, whose Pearson correlation of all horizontal and vertical differences is high enough; an image of one colour
    has no differences, and is in no pair. The time grows with the square of N: 16,000 images take a few seconds.

    Args:
        cells: uint8 (N, 16, 16), from `grey_cells`.
        min_correlation: smallest correlation of a pair, -1..1.

    Returns:
        int64 (P, 2), positions of the images of each pair, the smaller one first, in ascending order.
    """
    values = cells.astype(np.float32)
    width = CELLS_SIDE * (CELLS_SIDE - 1)
    changes = np.concatenate([np.diff(values, axis=axis).reshape(len(cells), width) for axis in (1, 2)], axis=1)
    changes -= changes.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(changes, axis=1, keepdims=True)
    changes /= np.where(lengths > 0, lengths, np.inf)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(changes), ROWS_AT_ONCE):
        pairs = np.argwhere(changes[start : start + ROWS_AT_ONCE] @ changes[start:].T >= min_correlation)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]] + start)
    return np.concatenate(found)

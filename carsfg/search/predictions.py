"""The table of predictions, `predictions.csv`: its columns and its file, for `carsfg test` and `carsfg predict`.

A table is a dict of columns by name, each a list with one value per image.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carsfg.data.box_table import CORNERS
from carsfg.data.image_io import Box
from carsfg.files import replacing
from carsfg.retrieval.metrics import knn_labels
from carsfg.search.calibration import p_value
from carsfg.search.gallery import Gallery
from carsfg.tasks.base import CarsTask

PREDICTIONS_FILE = "predictions.csv"
TOP = 5  # classes per image
DIGITS = 4  # after the point

Columns = dict[str, list[Any]]


def class_columns(logits: Tensor, class_names: Sequence[str]) -> Columns:
    """Return `top1` to `top5`, the most probable classes, and `probability1` to `probability5`.

    Args:
        logits: float (B, C); with fewer than 5 classes there are fewer columns.
        class_names: names of the C classes, in label order.
    """
    probabilities, classes = logits.softmax(1).topk(min(TOP, logits.shape[1]))
    columns: Columns = {}
    for place in range(classes.shape[1]):
        columns[f"top{place + 1}"] = [class_names[label] for label in classes[:, place].tolist()]
        columns[f"probability{place + 1}"] = _rounded(probabilities[:, place])
    return columns


def neighbour_columns(
    neighbours: Tensor, labels: Tensor, class_names: Sequence[str], path_of: Callable[[int], str]
) -> Columns:
    """Return `vote`, the class of the k-NN vote, and `nearest` and `nearest_label` of the nearest image.

    Args:
        neighbours: int64 (B, k), places in the gallery, nearest first; -1 stands for none.
        labels: int64 (N,), of the gallery's images.
        class_names: in label order.
        path_of: gives the path of a gallery image by its place, for `nearest`.
    """
    votes, first = knn_labels(neighbours, labels, neighbours.shape[1]).tolist(), neighbours[:, 0].tolist()
    return {
        "vote": [class_names[label] if label >= 0 else "" for label in votes],
        "nearest": [path_of(place) if place >= 0 else "" for place in first],
        "nearest_label": [class_names[int(labels[place])] if place >= 0 else "" for place in first],
    }


def score_columns(scores: Tensor, calibration: Sequence[float]) -> Columns:
    """Return `nearest_score`, and `known_p`, its p-value, if the gallery is calibrated.

    Args:
        scores: float (B,), of the nearest images: cosine, or negative Euclidean distance.
        calibration: ascending scores of cars of known classes, see `carsfg.search.calibration`; may be empty.
    """
    columns: Columns = {"nearest_score": _rounded(scores)}
    if calibration:
        columns["known_p"] = [round(p_value(score, calibration), DIGITS) for score in scores.tolist()]
    return columns


@torch.no_grad()
def head_columns(task: CarsTask, embeddings: Tensor, bfloat16: bool = False, batch_size: int = 64) -> Columns:
    """Return the columns of `class_columns`, by the head of a network.

    Args:
        task: in eval mode.
        embeddings: float (B, D), which it made.
        bfloat16: use bfloat16 autocast, as for the embeddings.
        batch_size: embeddings at a time.
    """
    parts = []
    with torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16):
        for some in torch.split(embeddings, batch_size):
            parts.append(task.classify(some.to(task.device)).float().cpu())
    return class_columns(torch.cat(parts), task.class_names)


def gallery_columns(gallery: Gallery, embeddings: Tensor, k: int) -> Columns:
    """Return the columns of `neighbour_columns` and `score_columns`, by a search in a gallery.

    Args:
        gallery: made by the network of the embeddings; where it has no paths, `nearest` is the place, and where it has
            no class names, classes are labels.
        embeddings: float (B, D), of photos that are not excluded if they are in the gallery.
        k: neighbours that vote.
    """
    scores, places = gallery.search(embeddings, k)
    names = gallery.class_names or [str(label) for label in range(int(gallery.labels.max()) + 1)]
    path_of = gallery.paths.__getitem__ if len(gallery.paths) else str
    return neighbour_columns(places, gallery.labels, names, path_of) | score_columns(scores[:, 0], gallery.calibration)


def box_columns(boxes: Sequence[Box | None]) -> Columns:
    """Return `x0`, `y0`, `x1` and `y1`, as tables of photos have them: empty cells mean the whole photo.

    Args:
        boxes: in pixels of the file, half-open; None for photos that were taken whole.
    """
    return {name: [box[place] if box else "" for box in boxes] for place, name in enumerate(CORNERS)}


def _rounded(values: Tensor) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def write_table(file: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a CSV file with a header, beside its place first; parent folders are created.

    Args:
        file: to create or replace.
        columns: values by name, all of one length.

    Raises:
        OSError: the disk is full, or permission is missing.
    """
    with (
        replacing(file) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as opened,
    ):
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))

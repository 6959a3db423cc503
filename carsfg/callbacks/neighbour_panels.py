"""Retrieval to look at, in TensorBoard: queries beside what was found for them, and the space they lie in."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.functional import interpolate

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.data.class_names import parse
from carsfg.data.datamodule import StanfordCarsDataModule
from carsfg.data.splits import Rows
from carsfg.errors import InputError
from carsfg.plots.neighbours import Found, neighbour_figure
from carsfg.retrieval.metrics import Metric, prepare
from carsfg.retrieval.ranking import Searched

TITLES = {
    "best": "the best of {} queries by average precision, one a class",
    "worst": "the worst of {} queries by average precision, one a class",
    "random": "some of {} queries, drawn at random",
}
THUMBNAIL = 48  # pixels, at most
SHEET = 8192  # pixels: the projector takes no larger sheet of thumbnails
WIDTH = 128  # numbers of an embedding that the projector gets, as text
HEADER = ["class", "make", "body", "year", "average precision"]  # up to 50 values are coloured: makes, not classes


class NeighbourPanels(Callback):
    """Show what `FaissRetrieval` found in the last validation and in the test.

    The figures `.../retrieval/best` and `.../worst` show queries by average precision, each of another class;
    `.../random` shows the same ones for every run on the same images. TensorBoard's projector shows queries at their
    embeddings, to be coloured by make, body type, year and average precision; of wide embeddings it gets the 128
    directions that hold most of them.

    Args:
        queries: in a figure, at most.
        neighbours: of each, at most.
        projected: images in the projector, at most; 0 for no projector.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(self, queries: int = 6, neighbours: int = 8, projected: int = 2000) -> None:
        if min(queries, neighbours) < 1 or projected < 0:
            raise InputError("NeighbourPanels: queries and neighbours must be 1 or more, projected 0 or more")
        self.queries, self.neighbours, self.projected = queries, neighbours, projected

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look for what it shows; without a FaissRetrieval, or our data, there is nothing."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self._retrieval = next((one for one in callbacks if isinstance(one, FaissRetrieval)), None)
        self._data = getattr(trainer, "datamodule", None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show it, after the last epoch."""
        last = trainer.current_epoch + 1 == trainer.max_epochs or trainer.state.fn == TrainerFn.VALIDATING
        if last and not trainer.sanity_checking:
            self._show(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show it."""
        self._show(trainer, "test")

    def _show(self, trainer: Trainer, split: Literal["val", "test"]) -> None:
        retrieval, data = self._retrieval, self._data
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if retrieval is None or retrieval.searched is None or not isinstance(data, StanfordCarsDataModule):
            return
        searched, step = retrieval.searched, trainer.global_step  # `searched` is of the first process alone
        view = View.of(searched, data, split)
        for name, places in pick(searched, self.queries).items():
            title = f"{split}: {TITLES[name].format(f'{len(searched.queries.labels):,}')}"
            figure = neighbour_figure([view.found(place, self.neighbours) for place in places], title)
            for logger in loggers:
                logger.experiment.add_figure(f"{split}/retrieval/{name}", figure, step, close=False)
        if self.projected and loggers:
            points = view.points(self.projected, retrieval.metric)
            for logger in loggers:  # a folder for each step and split
                logger.experiment.add_embedding(**points, global_step=step, tag=f"{split}_embeddings")


@dataclass(frozen=True)
class View:
    """A search with its images.

    Attributes:
        searched: what was found.
        data: where the images are.
        class_names: of all classes, those that are tested alone included.
        query_rows: int64 (Q,), where the queries are among all images, as `Splits` has it.
        gallery_rows: int64 (G,), likewise of the gallery.
    """

    searched: Searched
    data: StanfordCarsDataModule
    class_names: list[str]
    query_rows: Rows
    gallery_rows: Rows

    @classmethod
    def of(cls, searched: Searched, data: StanfordCarsDataModule, split: Literal["val", "test"]) -> "View":
        """Find the images of a search in the split `val` or `test`.

        Args:
            searched: what was found, by `FaissRetrieval`.
            data: set up, where the images are.
            split: `val` or `test`.
        """
        rows = data.splits.test if split == "test" else data.splits.val
        assert rows is not None  # noqa: S101
        query_rows = gallery_rows = rows[searched.queries.indices.numpy()]
        gallery = data.gallery_rows(split)
        if gallery is not None and searched.gallery is not None:
            gallery_rows = gallery[searched.gallery.indices.numpy()]
        return cls(searched, data, data.all_class_names, query_rows, gallery_rows)

    def found(self, place: int, most: int) -> Found:
        """Return the query at a place, and its nearest.

        Args:
            place: of the query among the queries.
            most: how many of its nearest, at most.
        """
        searched, names = self.searched, self.class_names
        near = searched.neighbours[place]
        near = near[near >= 0][:most]
        own = int(searched.queries.labels[place])
        labels = (searched.gallery or searched.queries).labels[near].tolist()
        return Found(
            image=self.data.crops(self.query_rows[[place]])[0],
            name=names[own],
            average_precision=float(searched.average_precision[place]),
            images=self.data.crops(self.gallery_rows[near.numpy()]),
            names=[names[label] for label in labels],
            right=[label == own for label in labels],
        )

    def points(self, most: int, metric: Metric) -> dict[str, Any]:
        """Return `mat` (N, W), `metadata`, `metadata_header` and `label_img` (N, 3, S, S) for `add_embedding`.

        Args:
            most: images, at most; of more, some are drawn.
            metric: `cosine` or `euclidean`, by which embeddings were compared.
        """
        queries = self.searched.queries
        places = np.sort(np.random.default_rng(0).permutation(len(queries.labels))[:most])
        side = min(THUMBNAIL, SHEET // math.ceil(math.sqrt(len(places))))
        return {
            "mat": narrow(prepare(queries.embeddings[places], metric)),
            "metadata": [self._facts(place) for place in places.tolist()],
            "metadata_header": HEADER,
            "label_img": torch.stack(
                [thumbnail(self.data.crops(rows), side) for rows in self.query_rows[places, None]]
            ),
        }

    def _facts(self, place: int) -> list[str]:
        name = self.class_names[int(self.searched.queries.labels[place])]
        car, precision = parse(name), float(self.searched.average_precision[place])
        return [name, car.make, car.body, str(car.year or ""), "" if math.isnan(precision) else f"{precision:.4f}"]


def pick(searched: Searched, count: int) -> dict[str, list[int]]:
    """Choose up to `count` queries, by place, for each figure that has any to show.

    Args:
        searched: what was found.
        count: of queries a figure, at most.
    """
    precision, labels = searched.average_precision, searched.queries.labels
    known = (~precision.isnan()).nonzero().flatten()
    picked = {
        "best": _one_a_class(known[precision[known].argsort(descending=True, stable=True)], labels, count),
        "worst": _one_a_class(known[precision[known].argsort(stable=True)], labels, count),
        "random": np.random.default_rng(0).permutation(len(labels))[:count].tolist(),
    }
    return {name: places for name, places in picked.items() if places}


def _one_a_class(places: Tensor, labels: Tensor, count: int) -> list[int]:
    first: dict[int, int] = {}
    for place, label in zip(places.tolist(), labels[places].tolist(), strict=True):
        first.setdefault(label, place)
    return list(first.values())[:count]


def thumbnail(pixels: npt.NDArray[np.uint8], side: int) -> Tensor:
    """Shrink an image, uint8 (1, S, S, 3), to at most `side` pixels: float (3, side, side) in 0..1.

    Args:
        pixels: uint8 (1, S, S, 3), RGB.
        side: of the result, in pixels; a smaller image stays as it is.
    """
    image: Tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    if image.shape[2] > side:
        image = interpolate(image, side, mode="bilinear", antialias=True)
    return image[0].float() / 255


def narrow(embeddings: Tensor, width: int = WIDTH) -> Tensor:
    """Turn embeddings (N, D) so that the first `width` directions hold most of their squares, and keep those.

    They are not centred, so that cosines as well as distances stay as near to the embeddings' as so few can be.

    Args:
        embeddings: float (N, D).
        width: how many directions to keep; where D is no more, embeddings stay as they are.
    """
    if embeddings.shape[1] <= width:
        return embeddings
    points = embeddings.double()  # in single precision LAPACK may give up where there are fewer points than dimensions
    directions: Tensor = torch.linalg.eigh(points.T @ points).eigenvectors  # the largest come last
    return embeddings @ directions[:, -width:].flip(1).to(embeddings)

"""Figures of retrieval results: queries beside their nearest neighbours, and a projection of the embeddings."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.functional import interpolate

from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.observer import Observer
from carsfg.data.datamodule import CarsDataModule
from carsfg.data.splits import Rows
from carsfg.errors import InputError
from carsfg.plots.log_figure import log_figure, takes_figures
from carsfg.plots.neighbours import Found, neighbour_figure
from carsfg.retrieval.ranking import RetrievalResult
from carsfg.retrieval.similarity import Metric, prepare

TITLES = {
    "best": "the best of {} queries by average precision, one per class",
    "worst": "the worst of {} queries by average precision, one per class",
    "random": "random queries of {}",
}
MAX_THUMBNAIL_PIXELS = 48
MAX_SHEET_PIXELS = 8192  # TensorBoard's limit for the sheet of all thumbnails
PROJECTED_WIDTH = 128  # dimensions of the projected embeddings, which are written as text


class NeighbourPanels(Observer):
    """Show the results of `FaissRetrieval`: of its last search in a validation, and of the test.

    The figures `.../retrieval/best` and `.../worst` show queries by average precision, one per class; `.../random`
    shows the same queries in every run on the same images. TensorBoard's projector shows the embeddings of queries,
    which can be coloured by class, by the attributes of the data (such as make) and by average precision; embeddings
    wider than 128 are projected on their 128 strongest directions. Which validation is the last is known when training
    ends. The images are those of a `carsfg.CarsDataModule`; with other data nothing is shown.

    Args:
        queries: maximum number of queries per figure.
        neighbours: maximum number of neighbours per query.
        projected: maximum number of images in the projector; 0 for no projector.

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(self, queries: int = 6, neighbours: int = 8, projected: int = 2000) -> None:
        if min(queries, neighbours) < 1 or projected < 0:
            raise InputError("NeighbourPanels: queries and neighbours must be 1 or more, projected 0 or more")
        self.queries, self.neighbours, self.projected = queries, neighbours, projected
        self._pending: RetrievalResult | None = None  # the latest search in a validation, until it is shown

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the results and the images; without a FaissRetrieval, or with other data, nothing is shown."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self._retrieval = next((one for one in callbacks if isinstance(one, FaissRetrieval)), None)
        self._data = getattr(trainer, "datamodule", None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the search, which the next validation replaces; show it now after `carsfg validate`."""
        if self._retrieval is not None and not trainer.sanity_checking:
            self._pending = self._retrieval.searched or self._pending
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._show_pending(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last search."""
        self._show_pending(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the search of the test."""
        if self._retrieval is not None:
            self._show(trainer, self._retrieval.searched, "test")

    def _show_pending(self, trainer: Trainer) -> None:
        self._show(trainer, self._pending, "val")
        self._pending = None

    def _show(self, trainer: Trainer, searched: RetrievalResult | None, split: Literal["val", "test"]) -> None:
        """Plot the figures and the projector of a search, which only the first process has."""
        if searched is None or not isinstance(self._data, CarsDataModule) or not takes_figures(trainer):
            return
        view = View.of(searched, self._data, split)
        for name, positions in pick(searched, self.queries).items():
            title = f"{split}: {TITLES[name].format(f'{len(searched.queries.labels):,}')}"
            figure = neighbour_figure([view.found(position, self.neighbours) for position in positions], title)
            log_figure(trainer, f"{split}/retrieval/{name}", figure)
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if self.projected and boards and self._retrieval is not None:
            points = view.points(self.projected, self._retrieval.metric)
            for board in boards:  # a folder for each step and split
                board.experiment.add_embedding(**points, global_step=trainer.global_step, tag=f"{split}_embeddings")


@dataclass(frozen=True)
class View:
    """A search with its images.

    Attributes:
        searched: results of the search.
        data: holds the images.
        class_names: of all classes, including those that are only tested.
        query_rows: int64 (Q,), positions of the queries among all images, in the order of `Splits`.
        gallery_rows: int64 (G,), positions of the gallery items, in the same order.
    """

    searched: RetrievalResult
    data: CarsDataModule
    class_names: list[str]
    query_rows: Rows
    gallery_rows: Rows

    @classmethod
    def of(cls, searched: RetrievalResult, data: CarsDataModule, split: Literal["val", "test"]) -> "View":
        """Find the images of a search.

        Args:
            searched: results of `FaissRetrieval`.
            data: holds the images; `setup` has been called.
            split: that was searched, `val` or `test`.
        """
        rows = data.splits.test if split == "test" else data.splits.val
        assert rows is not None  # noqa: S101
        query_rows = gallery_rows = rows[searched.queries.indices.numpy()]
        gallery = data.gallery_rows(split)
        if gallery is not None and searched.gallery is not None:
            gallery_rows = gallery[searched.gallery.indices.numpy()]
        return cls(searched, data, data.all_class_names, query_rows, gallery_rows)

    def found(self, position: int, most: int) -> Found:
        """Return the images of a query and of its nearest neighbours.

        Args:
            position: index of the query among the queries.
            most: maximum number of neighbours.
        """
        searched, names = self.searched, self.class_names
        near = searched.neighbours[position]
        near = near[near >= 0][:most]
        own = int(searched.queries.labels[position])
        labels = (searched.gallery or searched.queries).labels[near].tolist()
        return Found(
            image=self.data.crops(self.query_rows[[position]])[0],
            name=names[own],
            average_precision=float(searched.average_precision[position]),
            images=self.data.crops(self.gallery_rows[near.numpy()]),
            names=[names[label] for label in labels],
            right=[label == own for label in labels],
        )

    def points(self, most: int, metric: Metric) -> dict[str, Any]:
        """Return `mat` (N, W), `metadata`, `metadata_header` and `label_img` (N, 3, S, S) for `add_embedding`.

        Args:
            most: maximum number of images; if there are more, a random sample is taken.
            metric: by which embeddings were compared, `cosine` or `euclidean`.
        """
        queries = self.searched.queries
        positions = np.sort(np.random.default_rng(0).permutation(len(queries.labels))[:most])
        side = min(MAX_THUMBNAIL_PIXELS, MAX_SHEET_PIXELS // math.ceil(math.sqrt(len(positions))))
        return {
            "mat": narrow(prepare(queries.embeddings[positions], metric)),
            "metadata": [self._facts(position) for position in positions.tolist()],
            "metadata_header": ["class", *self.data.source.attributes, "average precision"],
            "label_img": torch.stack(
                [thumbnail(self.data.crops(rows), side) for rows in self.query_rows[positions, None]]
            ),
        }

    def _facts(self, position: int) -> list[str]:
        """Return the cells of a row of the projector's table: TensorBoard separates them by tabs."""
        row, precision = int(self.query_rows[position]), float(self.searched.average_precision[position])
        name = self.class_names[int(self.searched.queries.labels[position])]
        attributes = [values[row % len(values)] for values in self.data.source.attributes.values()]
        cells = [name, *attributes, "" if math.isnan(precision) else f"{precision:.4f}"]
        return [" ".join(cell.split()) for cell in cells]


def pick(searched: RetrievalResult, count: int) -> dict[str, list[int]]:
    """Select the queries of each figure, by position; figures without queries are left out.

    Args:
        searched: results of the search.
        count: maximum number of queries per figure.
    """
    precision, labels = searched.average_precision, searched.queries.labels
    known = (~precision.isnan()).nonzero().flatten()
    picked = {
        "best": _one_per_class(known[precision[known].argsort(descending=True, stable=True)], labels, count),
        "worst": _one_per_class(known[precision[known].argsort(stable=True)], labels, count),
        "random": np.random.default_rng(0).permutation(len(labels))[:count].tolist(),
    }
    return {name: positions for name, positions in picked.items() if positions}


def _one_per_class(positions: Tensor, labels: Tensor, count: int) -> list[int]:
    first: dict[int, int] = {}
    for position, label in zip(positions.tolist(), labels[positions].tolist(), strict=True):
        first.setdefault(label, position)
    return list(first.values())[:count]


def thumbnail(pixels: npt.NDArray[np.uint8], side: int) -> Tensor:
    """Shrink an image to float (3, side, side) in 0..1; a smaller image keeps its size.

    Args:
        pixels: RGB, uint8 (1, S, S, 3).
        side: of the result in pixels.
    """
    image: Tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    if image.shape[2] > side:
        image = interpolate(image, side, mode="bilinear", antialias=True)
    return image[0].float() / 255


def narrow(embeddings: Tensor, width: int = PROJECTED_WIDTH) -> Tensor:
    """Project embeddings on their strongest directions (PCA without centring): float (N, width).

    Without centring, cosines are approximated as well as distances.

    Args:
        embeddings: float (N, D).
        width: number of directions to keep; if D is not larger, the embeddings are returned.
    """
    if embeddings.shape[1] <= width:
        return embeddings
    points = embeddings.double()  # in single precision LAPACK may fail with fewer points than dimensions
    directions: Tensor = torch.linalg.eigh(points.T @ points).eigenvectors  # in ascending order
    return embeddings @ directions[:, -width:].flip(1).to(embeddings)

"""What a network's embeddings are good for, under every protocol that applies, with intervals."""

from dataclasses import dataclass

import torch
from torch import Tensor

from carsfg.evaluation.bootstrap import intervals
from carsfg.evaluation.linear_probe import FALLBACK, LinearProbe, choose_strength
from carsfg.retrieval.metrics import Metric, knn_labels
from carsfg.retrieval.ranking import Embedded, search

TOP = (1, 5, 10)
RANKED = ("top_1", "top_5", "top_10", "precision_10", "r_precision", "map_at_r", "map")
ALL, WITHOUT_TWINS = "all images", "without twins"


@dataclass
class Images:
    """What a network made of the N images of a folder.

    Attributes:
        embedded: embeddings (N, D), labels and indices.
        predicted: int64 (N,), what its head takes them for.
        twin: bool (N,), whether another file, in either folder, has the very same bytes.
        held: bool (N,), those that the linear probe's strength is chosen on.
    """

    embedded: Embedded
    predicted: Tensor
    twin: Tensor
    held: Tensor

    def take(self, where: slice | Tensor) -> "Images":
        """Return some of the images.

        Args:
            where: a slice, int64 places or bool (N,).
        """
        whole = self.embedded
        embedded = Embedded(whole.embeddings[where], whole.labels[where], whole.indices[where])
        return Images(embedded, self.predicted[where], self.twin[where], self.held[where])

    def without_twins(self) -> "Images":
        """Return the images that have no twin anywhere."""
        return self.take(~self.twin)


@dataclass(frozen=True)
class Row:
    """One figure: the mean over the queries, and its 95 % interval, as fractions.

    Attributes:
        images: `ALL` or `WITHOUT_TWINS`.
        protocol: `official`, `closed_train_gallery`, `closed_loo` or `zero_shot`.
        figure: its name, such as `map_at_r`.
        value: not a number where no query has anything to find, nor are the next two then.
        low: end of the interval.
        high: likewise.
        queries: how many it is the mean of.
        gallery: how many images were learned from or searched in.
        left_out: how many queries had nothing to find.
    """

    images: str
    protocol: str
    figure: str
    value: float
    low: float
    high: float
    queries: int
    gallery: int
    left_out: int


def evaluate_closed(
    train: Images, test: Images, metric: Metric, knn: int, strength: float, device: str | torch.device = "cpu"
) -> list[Row]:
    """Score a network that learned the test images' classes: by its head, by neighbours, by a probe and by retrieval.

    All figures come a second time without twins, if there are any.

    Args:
        train: all images of `cars_train`.
        test: all images of `cars_test`.
        metric: `cosine` or `euclidean`.
        knn: how many neighbours vote.
        strength: of the linear probe's penalty; see `probe_strength`.
        device: where the linear probe is fitted.
    """
    rows = _closed(ALL, train, test, metric, knn, strength, device)
    if (train.twin.any() or test.twin.any()) and not (train.twin.all() or test.twin.all()):
        fewer = train.without_twins(), test.without_twins()
        rows += _closed(WITHOUT_TWINS, *fewer, metric, knn, strength, device)
    return rows


def probe_strength(train: Images, device: str | torch.device = "cpu") -> float:
    """Choose the strength of the linear probe's penalty on the hold-out of train; twins have no say.

    It is chosen once, so that figures with and without twins differ by the twins alone.

    Args:
        train: all images of `cars_train`.
        device: where to fit.
    """
    train = train.without_twins()
    if not len(train.predicted):
        return FALLBACK
    points, labels = train.embedded.embeddings.to(device), train.embedded.labels.to(device)
    return choose_strength(points, labels, train.held.to(device), int(labels.max()) + 1)


def evaluate_zero_shot(test: Images, metric: Metric) -> list[Row]:
    """Score a network by retrieval among images of classes it never learned; again without twins, if there are any.

    Args:
        test: the images of those classes.
        metric: `cosine` or `euclidean`.
    """
    rows = _retrieval(ALL, "zero_shot", test, None, metric)[0]
    if test.twin.any() and not test.twin.all():
        rows += _retrieval(WITHOUT_TWINS, "zero_shot", test.without_twins(), None, metric)[0]
    return rows


def _closed(
    images: str, train: Images, test: Images, metric: Metric, knn: int, strength: float, device: str | torch.device
) -> list[Row]:
    """Compute all figures of one choice of images."""
    gallery, neighbours = _retrieval(images, "closed_train_gallery", test, train, metric, knn)
    truth = test.embedded.labels
    right = {
        "head_top_1": test.predicted == truth,
        f"knn_{knn}": knn_labels(neighbours, train.embedded.labels, knn) == truth,
        "linear_probe": _probe(train, test, strength, device) == truth,
    }
    among_themselves, _ = _retrieval(images, "closed_loo", test, None, metric)
    return [*_rows(images, "official", right, len(train.predicted), 0), *gallery, *among_themselves]


def _probe(train: Images, test: Images, strength: float, device: str | torch.device) -> Tensor:
    """Return what a linear probe, fitted to all of train, takes the test images for, int64 (N,)."""
    points, labels = train.embedded.embeddings.to(device), train.embedded.labels.to(device)
    classes = int(torch.cat([train.embedded.labels, test.embedded.labels]).max()) + 1
    probe = LinearProbe.fit(points, labels, classes, strength)
    return probe(test.embedded.embeddings.to(device)).argmax(1).cpu()


def _retrieval(
    images: str, protocol: str, queries: Images, gallery: Images | None, metric: Metric, knn: int = 1
) -> tuple[list[Row], Tensor]:
    """Return the figures of a search, and the neighbours it found, at least `knn`, int64 (Q, K)."""
    where = None if gallery is None else gallery.embedded
    found = search(queries.embedded, where, TOP, [knn], metric)
    count = len(queries.predicted) - 1 if gallery is None else len(gallery.predicted)
    by_query = {name: found.by_query[name] for name in RANKED}
    return _rows(images, protocol, by_query, count, int(found.figures["left_out"])), found.neighbours


def _rows(images: str, protocol: str, by_query: dict[str, Tensor], gallery: int, left_out: int) -> list[Row]:
    """Make one row of each figure, from its values (Q,)."""
    values = torch.stack([value.double() for value in by_query.values()], 1)
    return [
        Row(images, protocol, name, value, low, high, len(values), gallery, left_out)
        for name, (value, low, high) in zip(by_query, intervals(values).T.tolist(), strict=True)
    ]

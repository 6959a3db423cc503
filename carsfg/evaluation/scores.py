"""Scores of a network under every protocol that applies, with intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from carsfg.evaluation.bootstrap import RESAMPLES, intervals, joint_intervals, joint_resamples
from carsfg.evaluation.glossary import RANKED
from carsfg.evaluation.linear_probe import DEFAULT_STRENGTH, LinearProbe, select_strength
from carsfg.retrieval.metrics import knn_labels
from carsfg.retrieval.ranking import EmbeddedImages, search
from carsfg.retrieval.similarity import Metric

TOP_K = (1, 5, 10)
ALL, WITHOUT_DUPLICATES = "all images", "without duplicates"


@dataclass
class Images:
    """Embeddings and predictions of the N images of a folder.

    Attributes:
        embedded: embeddings (N, D), labels and indices.
        predicted: int64 (N,), labels that the head predicts; None for a network without a head.
        duplicate: bool (N,), whether another file, in either folder, is byte-identical.
        held_out: bool (N,), images that the penalty of the linear probe is chosen on.
    """

    embedded: EmbeddedImages
    predicted: Tensor | None
    duplicate: Tensor
    held_out: Tensor

    def __len__(self) -> int:
        return len(self.embedded.labels)

    def take(self, where: slice | Tensor) -> "Images":
        """Return some of the images.

        Args:
            where: a slice, int64 positions or bool (N,).
        """
        whole = self.embedded
        embedded = EmbeddedImages(whole.embeddings[where], whole.labels[where], whole.indices[where])
        predicted = None if self.predicted is None else self.predicted[where]
        return Images(embedded, predicted, self.duplicate[where], self.held_out[where])

    def without_duplicates(self) -> "Images":
        """Return the images of which no other file is a duplicate."""
        return self.take(~self.duplicate)


@dataclass(frozen=True)
class Row:
    """One score: the mean over the queries and its 95 % interval, 0..1.

    Attributes:
        images: `ALL` or `WITHOUT_DUPLICATES`.
        protocol: `official`, `closed_train_gallery`, `closed_loo` or `zero_shot`.
        score: its name, such as `map_at_r`.
        value: the mean; like `low` and `high` not a number if no query has relevant items.
        low: lower end of the interval.
        high: upper end of the interval.
        queries: number of queries in the mean.
        gallery: number of images that were learned from or searched in.
        left_out: number of queries without relevant items.
        resamples: number of resamples of the bootstrap interval.
    """

    images: str
    protocol: str
    score: str
    value: float
    low: float
    high: float
    queries: int
    gallery: int
    left_out: int
    resamples: int = RESAMPLES


def evaluate_closed(
    train: Images,
    test: Images,
    metric: Metric,
    knn: int,
    strength: float,
    device: str | torch.device = "cpu",
    probe: LinearProbe | None = None,
) -> list[Row]:
    """Score a network on classes with training images: by its head, by neighbours, by a probe and by retrieval.

    All scores come a second time without duplicates, if there are any. A network without a head has no score of it.

    Args:
        train: all training images, with the hold-out.
        test: all images of `cars_test`.
        metric: `cosine` or `euclidean`.
        knn: neighbours that vote.
        strength: of the linear probe's penalty; see `probe_strength`.
        device: where the linear probe is fitted.
        probe: what `fit_probe` returned for the same images; None fits it.
    """
    rows = _closed(ALL, train, test, metric, knn, probe or fit_probe(train, test, strength, device))
    if (train.duplicate.any() or test.duplicate.any()) and not (train.duplicate.all() or test.duplicate.all()):
        fewer = train.without_duplicates(), test.without_duplicates()
        rows += _closed(WITHOUT_DUPLICATES, *fewer, metric, knn, fit_probe(*fewer, strength, device))
    return rows


def probe_strength(train: Images, device: str | torch.device = "cpu") -> float:
    """Select the strength of the linear probe's penalty on the hold-out of train, without duplicates.

    It is selected once, so that scores with and without duplicates differ only by the images.

    Args:
        train: all training images, with the hold-out.
        device: where to fit.
    """
    train = train.without_duplicates()
    if not len(train):
        return DEFAULT_STRENGTH
    points, labels = train.embedded.embeddings.to(device), train.embedded.labels.to(device)
    return select_strength(points, labels, train.held_out.to(device), int(labels.max()) + 1)


def fit_probe(
    train: Images, test: Images, strength: float, device: str | torch.device = "cpu", classes: int = 0
) -> LinearProbe:
    """Fit the linear probe to all training images, for the classes of training and test images.

    Args:
        train: all training images, with the hold-out.
        test: the images that the probe will be scored on; only their labels are looked at.
        strength: of the penalty; see `probe_strength`.
        device: where to fit.
        classes: number of classes, if more are known than the images have.
    """
    points, labels = train.embedded.embeddings.to(device), train.embedded.labels.to(device)
    classes = max(classes, int(torch.cat([train.embedded.labels, test.embedded.labels]).max()) + 1)
    return LinearProbe.fit(points, labels, classes, strength)


def evaluate_zero_shot(test: Images, metric: Metric) -> list[Row]:
    """Score a network by retrieval among images of new classes; again without duplicates, if there are any.

    Args:
        test: the images of those classes.
        metric: `cosine` or `euclidean`.
    """
    rows = _retrieval(ALL, "zero_shot", test, None, metric)[0]
    if test.duplicate.any() and not test.duplicate.all():
        rows += _retrieval(WITHOUT_DUPLICATES, "zero_shot", test.without_duplicates(), None, metric)[0]
    return rows


def _closed(images: str, train: Images, test: Images, metric: Metric, knn: int, probe: LinearProbe) -> list[Row]:
    """Compute all scores of one selection of images."""
    gallery, neighbours = _retrieval(images, "closed_train_gallery", test, train, metric, knn)
    truth = test.embedded.labels
    head = {} if test.predicted is None else {"head_top_1": test.predicted == truth}
    right = head | {
        f"knn_{knn}": knn_labels(neighbours, train.embedded.labels, knn) == truth,
        "linear_probe": probe(test.embedded.embeddings.to(probe.weight.device)).argmax(1).cpu() == truth,
    }
    among_themselves, _ = _retrieval(images, "closed_loo", test, None, metric)
    ends = intervals(_stack(right))
    official = _rows(images, "official", right, ends, len(truth), len(train), 0)
    return [*official, *gallery, *among_themselves]


def _retrieval(
    images: str, protocol: str, queries: Images, gallery: Images | None, metric: Metric, knn: int = 1
) -> tuple[list[Row], Tensor]:
    """Return the scores of a search, and the neighbours it found, at least `knn`, int64 (Q, K)."""
    where = None if gallery is None else gallery.embedded
    found = search(queries.embedded, where, TOP_K, [knn], metric)
    count = len(queries) - 1 if gallery is None else len(gallery)
    by_query = {name: found.by_query[name] for name in RANKED}
    if gallery is None:  # each image is a query and a gallery item
        own, values = queries.embedded, _stack(by_query)
        ends = joint_intervals(own.embeddings, own.labels, values, RANKED, metric)
    else:
        ends = intervals(_stack(by_query))
    queried = len(by_query["map"])
    resamples = joint_resamples(count + 1) if gallery is None else RESAMPLES
    rows = _rows(images, protocol, RANKED, ends, queried, count, int(found.metrics["left_out"]), resamples)
    return rows, found.neighbours


def _rows(
    images: str,
    protocol: str,
    names: Iterable[str],
    ends: Tensor,
    queries: int,
    gallery: int,
    left_out: int,
    resamples: int = RESAMPLES,
) -> list[Row]:
    """Make one row of each column of the means and intervals, (3, M)."""
    return [
        Row(images, protocol, name, value, low, high, queries, gallery, left_out, resamples)
        for name, (value, low, high) in zip(names, ends.T.tolist(), strict=True)
    ]


def _stack(by_query: Mapping[str, Tensor]) -> Tensor:
    """Return the values of all queries by score, float64 (Q, M)."""
    return torch.stack([value.double() for value in by_query.values()], 1)

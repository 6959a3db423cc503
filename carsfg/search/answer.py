"""The answer of a search with a photo."""

from dataclasses import dataclass

from carsfg.data.image_io import Box
from carsfg.search.calibration import MIN_KNOWN_P


@dataclass(frozen=True)
class Match:
    """An image of the gallery.

    Attributes:
        rank: position among the results, 1 for the most similar image.
        name: car model, such as `BMW M3 Sedan 2012`.
        attributes: what else is known of the image, by name, such as `{"make": "BMW"}`.
        similarity: the cosine, or the negative Euclidean distance.
        path: relative to the folder that was indexed; empty if the gallery has no paths.
        place: in the gallery, 0..N-1.
    """

    rank: int
    name: str
    attributes: dict[str, str]
    similarity: float
    path: str
    place: int


@dataclass(frozen=True)
class Share:
    """A class name with its share of the vote or its probability, 0..1."""

    name: str
    share: float


@dataclass(frozen=True)
class Answer:
    """Result of a search with a photo.

    Attributes:
        matches: the nearest images, nearest first.
        vote: the classes of the matches with their shares, the most frequent first; see `metrics.knn_labels`.
        classes: the five most probable classes by the network's head; empty for a network without a head.
        known: p-value of the photo as one of a known car, see `carsfg.search.calibration`; None if the gallery is not
            calibrated.
        seconds: durations of `decode`, `find` (of the box, where it was looked for), `embed` and `search`.
        box: part of the photo that was searched with, `x0, y0, x1, y1` in pixels, half-open; None for the whole photo.
        mirror: whether the query is the mean of the embeddings of the photo and its mirror image.
    """

    matches: list[Match]
    vote: list[Share]
    classes: list[Share]
    known: float | None
    seconds: dict[str, float]
    box: Box | None = None
    mirror: bool = False

    @property
    def is_known(self) -> bool | None:
        """Whether `known` is at least 0.05; None without a calibration.

        About 95 % of photos of known cars pass if the calibration photos are new to the network. Fewer pass if the
        gallery calibrates itself. With fewer than 20 calibration scores every photo passes.
        """
        return None if self.known is None else self.known >= MIN_KNOWN_P

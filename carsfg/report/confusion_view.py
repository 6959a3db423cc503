"""The confusions of each group, prepared for the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from carsfg.data.class_names import parse
from carsfg.report.confusions import KINDS, Pair, accuracy_by, confused_pairs, per_class, same_model_pairs, severity
from carsfg.report.groups import Group

MAX_PAIRS = 12  # of each kind
NO_BODY = "Other"  # of `parse`, for a name without a body type
TITLES = {"body": "body type"}  # of attributes whose name says less
PICTURE_SIDE, PICTURE_QUALITY = 144, 75  # pixels; of the JPEG, 1..95

Shares = dict[str, tuple[float, int]]  # share in 0..1 and number of images, by name


@dataclass(frozen=True)
class ConfusionView:
    """Confusions of a group.

    Attributes:
        label: text that tells the group from others.
        right: share of right answers in 0..1.
        images: number of answers, of all seeds together.
        seeds: number of runs.
        kinds: share and number of answers by severity; meaningless if `names_bodies` is false.
        names_bodies: whether the classes are those of Stanford Cars or drawn cars and a name ends in a body type, so
            that severity can be told.
        pairs: the pairs that are confused most often.
        same_model: pairs of one make and model, counted in both directions; empty if `names_bodies` is false.
        parts: accuracy by attribute, such as make.
        classes: accuracy per class, lowest first.
    """

    label: str
    right: float
    images: int
    seeds: int
    kinds: Shares
    names_bodies: bool
    pairs: list[Pair]
    same_model: list[Pair]
    parts: dict[str, Shares]
    classes: Shares

    @classmethod
    def of(cls, one: Group) -> "ConfusionView":
        """Prepare the confusions of a group.

        Args:
            one: runs whose confused classes are shown.
        """
        confusions = one.confusions  # summed over the runs at each access
        counts = severity(confusions)
        images = sum(counts.values())
        names_bodies = one.names_are_cars and any(parse(truth).body != NO_BODY for truth, _ in confusions)
        classes = {name: (right / count, count) for name, (right, count) in per_class(confusions).items()}
        return cls(
            label=one.label,
            right=counts[KINDS[0]] / images,
            images=images,
            seeds=len(one.runs),
            kinds={kind: (count / images, count) for kind, count in counts.items()},
            names_bodies=names_bodies,
            pairs=confused_pairs(confusions, MAX_PAIRS),
            same_model=same_model_pairs(confusions)[:MAX_PAIRS] if names_bodies else [],
            parts={TITLES.get(name, name): accuracy_by(confusions, values) for name, values in one.attributes.items()},
            classes=dict(sorted(classes.items(), key=lambda item: item[1])),
        )


def confusion_views(groups: Sequence[Group]) -> list[ConfusionView]:
    """Return the confusions of all groups that have some.

    Args:
        groups: all runs, as `carsfg.report.groups.group` returns them.
    """
    return [ConfusionView.of(one) for one in groups if sum(one.confusions.values())]


def pictures(views: Sequence[ConfusionView], examples: Mapping[str, Image.Image]) -> dict[str, str]:
    """Return a JPEG as data URL for each class that is in a pair and has an example.

    Args:
        views: of all groups.
        examples: an image per class; classes may be missing.
    """
    pairs = [pair for view in views for pair in (*view.pairs, *view.same_model)]
    shown = dict.fromkeys(name for pair in pairs for name in (pair.truth, pair.predicted))
    return {name: _jpeg(examples[name]) for name in shown if name in examples}


def _jpeg(image: Image.Image) -> str:
    small, buffer = image.convert("RGB"), io.BytesIO()
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    small.save(buffer, "JPEG", quality=PICTURE_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from carsfg.plots.confusion import confusion_figure
from tests.conftest import NAMES

COUNTS = torch.tensor([[5, 0, 0, 0], [1, 3, 0, 1], [0, 0, 5, 0], [0, 2, 0, 3]])
LONG = "Continental Supersports Conv. Convertible 2012"


def many(classes: int, makes: int) -> list[str]:
    """Long names, half of the makes with one class each, as in the real data."""
    solo = makes // 2
    rest = [f"Make-{c % (makes - solo):02} Model {c:03} Crew Cab 2012" for c in range(classes - solo)]
    return rest + [f"Solo-{c:02} {LONG}" for c in range(solo)]


def extents(figure: Figure) -> dict[str, Bbox]:
    """Where each text lies, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    matrix, listed = figure.axes[:2]
    texts = [*matrix.texts, *matrix.get_xticklabels(), *matrix.get_yticklabels(), *listed.texts]
    # of the text alone: an annotation's own extent would include its line
    found = [(text.get_text(), Text.get_window_extent(text)) for text in texts]
    return {f"{place} {text}": extent for place, (text, extent) in enumerate(found) if text}


def test_title_and_list() -> None:
    matrix, listed = confusion_figure(COUNTS, NAMES, "test").axes[:2]
    assert matrix.get_title() == "test: 80.0% of 20 images on the diagonal (rows: true class, columns: predicted)"
    first, second = (text.get_text().split("\n") for text in listed.texts)
    assert [*first, *second] == [
        "2 of 5  Kestrel Swift Crew Cab 1997",
        "        taken for Dunmore C/V Cargo Van 2012",
        "1 of 5  Dunmore C/V Cargo Van 2012",
        "        taken for Kestrel Swift Crew Cab 1997",
        "1 of 5  Dunmore C/V Cargo Van 2012",
        "        taken for Meridian Lark Wagon 2012",
    ]
    assert len(first) == 4


def makes_of(names: Sequence[str]) -> list[str]:
    return [name.split()[0] for name in names]


def test_classes_without_groups_are_sorted_by_name() -> None:
    names = ["rose", "aster", "tulip", "iris"]
    matrix = confusion_figure(COUNTS, names, "test").axes[0]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["aster", "iris", "rose", "tulip"]
    assert len(matrix.lines) == 0
    many_counts = torch.ones(60, 60, dtype=torch.int64)
    assert not confusion_figure(many_counts, [f"flower {c}" for c in range(60)], "test").axes[0].texts


def test_classes_are_sorted_by_make() -> None:
    matrix = confusion_figure(COUNTS, NAMES, "test", makes_of(NAMES)).axes[0]
    order = [2, 1, 3, 0]  # Aurora, Dunmore, Kestrel, Meridian
    assert [label.get_text() for label in matrix.get_yticklabels()] == [NAMES[c] for c in order]
    shares = np.asarray(matrix.images[0].get_array())
    np.testing.assert_allclose(shares[1], [0, 3 / 5, 1 / 5, 1 / 5])  # Dunmore
    assert len(matrix.lines) == 6  # between makes, both ways


def test_nothing_counted() -> None:
    matrix, listed = confusion_figure(torch.zeros(4, 4, dtype=torch.int64), NAMES, "val").axes[:2]
    assert matrix.get_title().startswith("val: 0.0% of 0 images")
    assert listed.texts[0].get_text() == "nothing"


@pytest.mark.parametrize(("classes", "makes"), [(196, 49), (40, 10)])
def test_everything_is_legible(classes: int, makes: int) -> None:
    names = many(classes, makes)
    counts = torch.randint(3, (classes, classes), generator=torch.Generator().manual_seed(0))
    figure = confusion_figure(counts, names, "test", makes_of(names))
    found = extents(figure)
    assert {key.split()[1] for key in found} >= {f"Solo-{c:02}" for c in range(makes // 2)}
    inside = {key for key, box in found.items() if min(box.min) >= 0 and box.x1 <= 1150 and box.y1 <= 1500}
    assert set(found) - inside == set()
    boxes = list(found.items())
    pairs = [(one, other) for place, one in enumerate(boxes) for other in boxes[:place]]
    assert [(one[0], other[0]) for one, other in pairs if one[1].padded(-1).overlaps(other[1])] == []


@pytest.mark.parametrize("classes", [4, 60])
def test_dollars_in_a_name_are_text(classes: int) -> None:
    names = [f"Car{place} $x_^$ Sedan 2012" for place in range(classes)]
    counts = torch.ones(classes, classes, dtype=torch.int64)
    shown = extents(confusion_figure(counts, names, "val", makes_of(names)))
    assert any("$x_^$" in text for text in shown)

"""What was found, as lines and as a picture."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from carsfg.plots.neighbours import SIDE
from carsfg.search.answer import Answer, Match, Share
from carsfg.search.answer_figure import answer_figure
from carsfg.search.display import known_sentence, print_answer
from carsfg.search.thumbnails import Thumbnails, encode

MATCHES = [
    Match(
        1, "Audi TT Coupe 2012", {"make": "Audi", "body": "Coupe", "year": "2012"}, 0.98765, "cars_train/00012.jpg", 2
    ),
    Match(2, "Fiat 500", {"make": "Fiat", "body": "Other"}, 0.5, "", 0),
    Match(3, "7", {}, -0.25, "x.jpg", 1),
]
TOOK = {"decode": 0.0021, "embed": 0.0314, "search": 0.0004}


def answer(known: float | None = 0.31, matches: list[Match] | None = None) -> Answer:
    vote = [Share("Audi TT Coupe 2012", 2 / 3), Share("Fiat 500", 1 / 3)]
    classes = [Share("Audi TT Coupe 2012", 0.9), Share("Fiat 500", 0.0961), Share("GMC Yukon", 0.0039)]
    return Answer(MATCHES if matches is None else matches, vote, classes, known, TOOK)


def thumbnails() -> Thumbnails:
    """Grey pictures of different shapes: 60, 120, 180."""
    shapes = ((40, 20), (20, 40), (30, 30))
    return Thumbnails.of([encode(Image.new("RGB", size, 3 * (60 * n,))) for n, size in enumerate(shapes, 1)])


def printed(capsys: pytest.CaptureFixture[str], one: Answer, name: str = "photo.jpg") -> list[str]:
    print_answer(name, one)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, answer()) == [
        "photo.jpg",
        "1 0.988 Audi TT Coupe 2012 Audi / Coupe / 2012",
        "cars_train/00012.jpg",
        "2 0.500 Fiat 500 Fiat / Other",
        "3 -0.250 7",
        "x.jpg",
        "vote of 3 Audi TT Coupe 2012 67 %, Fiat 500 33 %",
        "classifier (training classes) Audi TT Coupe 2012 90 %, Fiat 500 10 %",  # the last is below half a percent
        "known car? likely: 31 % of calibration images are no closer to the gallery than this photo",
        "time decode 2 ms, embed 31 ms, search 0 ms",
    ]


def test_a_network_without_a_head_has_no_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, replace(answer(), classes=[]))
    assert not any("classifier" in line for line in lines)
    assert "vote of 3 Audi TT Coupe 2012 67 %, Fiat 500 33 %" in lines


def test_a_gallery_that_was_not_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(line.startswith("known car?") for line in printed(capsys, answer(known=None)))


def test_nothing_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, Answer([], [], [], 0.25, TOOK))
    assert lines[0] == "photo.jpg"
    assert "vote of 0" in lines


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (1.0, "100 % of calibration images are no closer to the gallery than this photo"),
        (0.05, "5 % of calibration images are no closer to the gallery than this photo"),
        (0.0499, "only 5.0 % of calibration images are no closer to the gallery than this photo"),
        (0.0005, "only 0.1 % of calibration images are no closer to the gallery than this photo"),
    ],
)
def test_whether_it_is_known(known: float, sentence: str) -> None:
    assert known_sentence(answer(known)) == sentence


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as markup, nor as an emoji, nor broken in two where no terminal is that wide."""
    for name in ("[red]car[/red].jpg", ":car:.jpg", "/".join(["some folder"] * 20) + "/car.jpg"):
        match = Match(1, "[bold]Audi", {"make": "Audi"}, 0.9, name, 0)
        print_answer(name, answer(matches=[match]))
        out = capsys.readouterr().out
        assert out.count(name) == 2
        assert "[bold]Audi" in out


def test_a_name_in_another_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    """As old archives have them: Python gives what is no UTF-8 as lone surrogates."""
    lines = printed(capsys, answer(), "caf\udce9.jpg")
    assert "caf" in lines[0]
    assert len(lines) == 10


def pixels(figure: Figure, place: int) -> tuple[int, ...]:
    """The colour in the middle of an image."""
    middle = np.asarray(figure.axes[0].images[place].get_array())[SIDE // 2, SIDE // 2]
    return tuple(int(one) for one in middle)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_picture() -> None:
    photo = Image.new("RGB", (300, 100), "red")
    figure = answer_figure(
        [("photo.jpg", photo, answer()), ("other.jpg", photo, answer(0.01, MATCHES[:1]))], thumbnails()
    )
    assert len(figure.axes[0].images) == 6
    assert pixels(figure, 0) == pixels(figure, 4) == (255, 0, 0)
    assert [pixels(figure, place) for place in (1, 2, 3, 5)] == [3 * (180,), 3 * (60,), 3 * (120,), 3 * (180,)]
    written = texts(figure)
    assert written[0] == "photos and the most similar cars"
    assert {"photo.jpg", "other.jpg", "0.988 Audi TT Coupe\n2012", "known car?\nlikely", "known car?\nunlikely"} <= {
        text.replace("  ", " ") for text in written
    }
    assert not any(
        "\u2713" in text or "\u2717" in text or "AP" in text for text in written
    )  # nobody knows what is right


def test_what_is_right_where_it_is_known() -> None:
    photo = Image.new("RGB", (9, 9))
    written = texts(answer_figure([("photo.jpg", photo, answer())], thumbnails(), truths=[MATCHES[0].name]))
    right = sum(match.name == MATCHES[0].name for match in MATCHES)
    assert (written.count("\u2713"), written.count("\u2717")) == (right, len(MATCHES) - right)
    assert written[1] == "\u2713 same class as the query    \u2717 another class"
    assert "known car?\nlikely" in written


def test_pictures_of_every_shape_fill_their_squares() -> None:
    for size in ((1, 1), (300, 1), (1, 300), (3, 299)):
        figure = answer_figure([("photo", Image.new("RGB", size, "red"), answer())], thumbnails())
        assert {np.asarray(image.get_array()).shape for image in figure.axes[0].images} == {(SIDE, SIDE, 3)}


def test_a_picture_of_nothing_found() -> None:
    figure = answer_figure([("photo", Image.new("RGB", (9, 9)), Answer([], [], [], 0.25, TOOK))], thumbnails())
    assert len(figure.axes[0].images) == 1


@pytest.mark.parametrize("name", ["$_$.jpg", "a$\\frac$.jpg", "$5 to $9.jpg", "100%_{x}^y.jpg"])
def test_names_are_no_formulas(name: str) -> None:
    match = Match(1, name, {}, 0.9, "", 0)
    figure = answer_figure([(name, Image.new("RGB", (9, 9)), answer(matches=[match]))], thumbnails())
    figure.savefig(io.BytesIO(), format="png")
    assert name in texts(figure)
    assert not any(text.get_parse_math() and "$" in text.get_text() for text in figure.axes[0].texts)

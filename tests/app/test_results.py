"""HTML of results: content, and that class names are escaped."""

import base64
import io
from dataclasses import replace

import pytest
from PIL import Image

from carsfg.app.results import answer_html, data_url, error_html, preview_html, to_jpeg
from carsfg.search.answer import Answer, Match, Share
from carsfg.search.thumbnails import Thumbnails, encode

SCRIPT = '<script>alert("x")</script> & Sons\' "Coupe'
SECONDS = {"decode": 0.0014, "embed": 0.02, "search": 0.0}


def answer(name: str = "Aurora 5 Coupe 2002", known: float | None = 0.5) -> Answer:
    matches = [Match(rank, name, {"make": name, "year": "2002"}, 0.9 - rank / 10, "", rank - 1) for rank in (1, 2)]
    shares = [Share(name, 0.75), Share("half a percent", 0.005), Share("less", 0.0049)]
    return Answer(matches, [Share(name, 1.0)], shares, known, SECONDS)


def test_content_of_an_answer() -> None:
    pictures = Thumbnails.of([encode(Image.new("RGB", (8, 8), colour)) for colour in ("red", "blue")])
    page = answer_html(answer(), pictures, Image.new("RGB", (4, 4)))
    assert page.count('class="match"') == 2
    assert page.index(data_url(pictures.jpeg(0))) < page.index(data_url(pictures.jpeg(1)))
    assert 'aria-label="Search with number 1: Aurora 5 Coupe 2002"' in page
    assert '<span class="score">0.800</span>' in page
    assert '<span class="kind">Aurora 5 Coupe 2002 · 2002</span>' in page
    assert "Vote of the 2 nearest images" in page
    assert "75 %" in page
    assert "half a percent" in page
    assert "less" not in page
    assert "Bright areas contribute to the similarity to the nearest image, Aurora 5 Coupe 2002." in page
    assert "decode 1 ms, embed 20 ms, search 0 ms" in page


def test_a_network_without_a_head_has_no_classifier() -> None:
    page = answer_html(replace(answer(), classes=[]), None, None)
    assert "Classifier" not in page
    assert page.count("<section>") == 1


def test_the_numbers_are_those_of_the_galleries_metric() -> None:
    assert "cosine similarities; 1 means identical" in answer_html(answer(), None, None, "cosine")
    euclidean = answer_html(answer(), None, None, "euclidean")
    assert "negative Euclidean distances; 0 means identical" in euclidean
    assert "1 means" not in euclidean
    assert "Classifier (classes the network was trained on)" in euclidean


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (0.5, '<p class="verdict yes"><strong>Known car</strong>: 50 % of calibration images are'),
        (
            0.001,
            '<p class="verdict no"><strong>Probably not in the gallery</strong>: only 0.1 % of calibration',
        ),
    ],
)
def test_whether_it_is_known(known: float, words: str) -> None:
    assert answer_html(answer(known=known), None, None).startswith(words)


def test_without_scores_pictures_and_heat() -> None:
    page = answer_html(answer(known=None), None, None)
    assert "verdict" not in page
    assert "Where the similarity comes from" not in page
    assert page.count("data:image/gif;base64") == 2


def test_class_names_are_escaped() -> None:
    page = answer_html(answer(SCRIPT), None, Image.new("RGB", (4, 4)))
    assert page.count("&lt;script&gt;") == 9  # two cards of three, vote, classifier, heat map
    for piece in (page, error_html(SCRIPT)):
        assert "<script" not in piece
        assert '"x"' not in piece


def test_error_messages_begin_with_a_capital() -> None:
    assert error_html("no photo") == '<p class="problem" role="alert">No photo</p>'
    assert error_html("") == '<p class="problem" role="alert"></p>'


def test_pictures_in_urls() -> None:
    url = data_url(to_jpeg(Image.new("RGB", (30, 20), "red")))
    head, _, data = url.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (head, image.format, image.size) == ("data:image/jpeg;base64", "JPEG", (30, 20))
    assert (
        preview_html(Image.new("RGB", (30, 20), "red"), 4)
        == f'<img class="preview" data-number="4" src="{url}" alt="" hidden>'
    )

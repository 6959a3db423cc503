"""From a request of the page to the HTML it shows: photos, crop boxes, filters and malformed requests."""

import base64
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from PIL import Image

from carsfg.app.requests import ANY, MAX_REQUEST_CHARACTERS, Answers
from carsfg.app.results import EMPTY
from carsfg.search.attributes import Attributes
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import Thumbnails
from carsfg.synthetic.catalogue import car_model
from tests.app.client import encoded, names, pictures, said, sent

MALFORMED = "Malformed request; reload the page and choose a photo"
BOX = "The crop box is not four numbers; reload the page"
LARK, VAN, COUPE, CAB = (car_model(label).name for label in range(4))


@pytest.fixture(scope="module")
def answers(search: VisualSearch) -> Answers:
    return Answers(search)


@pytest.fixture(scope="module")
def own(search: VisualSearch) -> Thumbnails:
    """The thumbnails of the gallery."""
    assert search.gallery.thumbnails is not None
    return search.gallery.thumbnails


def known(page: str) -> str:
    """Returns the sentence that says whether the car is known."""
    (verdict,) = re.findall(r'<p class="verdict.*?</p>', page)
    return str(verdict)


def test_pictures_of_the_gallery_find_themselves(answers: Answers, own: Thumbnails) -> None:
    for place, name in ((0, LARK), (77, VAN), (125, COUPE), (239, CAB)):
        page = answers.answer(sent(own.jpeg(place)))
        assert names(page)[0] == name
        assert len(names(page)) == 12
        assert pictures(page)[0] == own.jpeg(place)
        assert page.count('<span class="score">1.000</span>') == 1
        assert "<strong>Known car</strong>" in page
        assert "Where the similarity comes from" in page
        assert "preview" not in page
    assert len(names(Answers(answers.search, 3).answer(sent(own.jpeg(0))))) == 3


@pytest.mark.parametrize("nothing", [None, ""])
def test_before_there_is_a_photo(nothing: str | None, answers: Answers) -> None:
    assert answers.answer(nothing) == answers.answer(nothing, "Aurora") == EMPTY


def test_boxes_are_fractions_of_width_and_height(answers: Answers, pair: Image.Image) -> None:
    photo = encoded(pair)
    left, right = (names(answers.answer(sent(photo, box=box)))[0] for box in ([0, 0, 0.5, 1], [0.5, 0, 1, 1]))
    assert (left, right) == (LARK, COUPE)


class RightHalf:
    """Finds the car in the right half of every photo."""

    def find(self, photos: Sequence[Image.Image]) -> list[tuple[int, int, int, int]]:
        return [(photo.width // 2, 0, *photo.size) for photo in photos]


def test_without_a_box_the_car_is_found_and_its_box_is_returned(search: VisualSearch, pair: Image.Image) -> None:
    finding = Answers(VisualSearch(search.task, search.gallery, RightHalf()))
    page = finding.answer(sent(encoded(pair), number=3))
    assert names(page)[0] == COUPE
    assert page.count('<i class="found-box" data-number="3" data-box="0.5000,0.0000,1.0000,1.0000" hidden></i>') == 1
    given = finding.answer(sent(encoded(pair), box=[0, 0, 0.5, 1]))
    assert names(given)[0] == LARK
    assert "found-box" not in given


def test_without_a_finder_photos_are_whole(answers: Answers, pair: Image.Image) -> None:
    assert "found-box" not in answers.answer(sent(encoded(pair)))


@pytest.mark.parametrize(
    ("box", "same"),
    [
        ([-5, -0.1, 0.5, 1e300], [0, 0, 0.5, 1]),
        ([0.5, 0, 0.2, 1], [0.5, 0, 301 / 600, 1]),  # corners swapped: one pixel
        ([1, 1, 1, 1], [599 / 600, 199 / 200, 1, 1]),
        (None, [0, 0, 1, 1]),
    ],
)
def test_boxes_that_leave_the_photo(box: Any, same: list[float], answers: Answers, pair: Image.Image) -> None:
    photo = encoded(pair)
    one, other = (answers.answer(sent(photo, box=wanted)) for wanted in (box, same))
    assert pictures(one) == pictures(other)
    assert len(pictures(one)) == 12


def test_filters(answers: Answers, own: Thumbnails) -> None:
    photo = sent(own.jpeg(0))
    assert {*names(answers.answer(photo, "Aurora"))} == {COUPE}
    assert {*names(answers.answer(photo, ANY, "Van"))} == {VAN}
    assert {*names(answers.answer(photo, ANY, ANY, "1997"))} == {CAB}
    assert {*names(answers.answer(photo, "Kestrel", "Cab", "1997"))} == {CAB}
    assert names(answers.answer(photo, ANY, ANY, ANY)) == names(answers.answer(photo))


def test_only_attributes_with_few_values_are_filters(search: VisualSearch) -> None:
    own, count = search.gallery, len(search.gallery)
    columns = {"row": [str(row) for row in range(count)], "sixty": [str(row % 60) for row in range(count)]}
    columns |= {"colour": ["", "red"] * (count // 2), "nothing": [""] * count, "all": ["new"] * count}
    other = Gallery(own.index, own.labels, [], own.class_names, "cosine", attributes=Attributes.of(columns))
    filters = Answers(VisualSearch(search.task, other)).filters
    assert (list(filters), filters["colour"], len(filters["sixty"])) == (["sixty", "colour"], ["red"], 60)
    assert filters["sixty"] == [str(number) for number in range(60)]  # in the order of numbers
    assert list(Answers(search).filters) == ["make", "body", "year"]


def test_filters_that_match_no_car(answers: Answers, own: Thumbnails) -> None:
    page = answers.answer(sent(own.jpeg(0)), "Aurora", "Van", "2012")
    assert said(page) == "The gallery holds no image with make Aurora, body Van, year 2012"
    assert names(page) == []


def test_whether_a_car_is_known_does_not_depend_on_filters(answers: Answers, own: Thumbnails) -> None:
    photo = sent(own.jpeg(0))
    whole, among = answers.answer(photo), answers.answer(photo, "Aurora")
    assert known(whole) == known(among)
    assert 'class="score">1.000<' in whole
    assert 'class="score">1.000<' not in among


def test_a_photo_that_the_browser_cannot_decode_comes_back(answers: Answers, own: Thumbnails) -> None:
    tiff = encoded(own[3].resize((2560, 1600)), "TIFF")
    page = answers.answer(sent(tiff, "image/tiff", raw=True, number=17))
    assert names(page)[0] == LARK
    ((number, data),) = re.findall(r'<img class="preview" data-number="(\d+)" src="data:image/jpeg;base64,(.*?)"', page)
    with Image.open(io.BytesIO(base64.b64decode(data))) as back:
        assert (number, back.format, back.size) == ("17", "JPEG", (1280, 800))
    assert 'class="preview"' in answers.answer(sent(tiff, raw=True), "Aurora", "Van")  # next to the error message
    assert "preview" not in answers.answer(sent(tiff))


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("{", MALFORMED),
        ("[]", MALFORMED),
        ("5", MALFORMED),
        ("null", MALFORMED),
        ("[" * 100_000, MALFORMED),
        ("9" * 5000, MALFORMED),
        ("{}", MALFORMED),
        ('{"image": null}', MALFORMED),
        ('{"image": "/etc/passwd"}', MALFORMED),
        ('{"image": "https://example.org/car.jpg"}', MALFORMED),
        ('{"image": "data:image/png;base64,A"}', MALFORMED),
        ('{"image": "data:image/png;base64,AAAA", "number": "<script>"}', MALFORMED),
        (
            '{"image": "data:image/png;base64,AAAA"}',
            "This file is not an image: JPEG, PNG, GIF, BMP, TIFF, WEBP",
        ),
        ('{"image": "data:;base64,"}', "This file is not an image: JPEG, PNG, GIF, BMP, TIFF, WEBP"),
        (" " * (MAX_REQUEST_CHARACTERS + 1), "The photo is too large; use a photo of at most 20 MB"),
    ],
)
def test_malformed_requests_and_files_that_are_not_photos(question: str, words: str, answers: Answers) -> None:
    assert said(answers.answer(question)).startswith(words)


@pytest.mark.parametrize(
    "box", [[], [0, 0, 1], [0, 0, 1, 1, 1], "0011", 5, ["a", 0, 1, 1], [float("nan"), 0, 1, 1], [0, 0, 1, 10**400],
            [0, 0, float("inf"), 1], [None, 0, 1, 1], {"x0": 0}, [[0], 0, 1, 1]]
)  # fmt: skip
def test_malformed_boxes(box: Any, answers: Answers, own: Thumbnails) -> None:
    if box == "0011":  # four digits are four numbers
        assert len(names(answers.answer(sent(own.jpeg(0), box=box)))) == 12
    else:
        assert said(answers.answer(sent(own.jpeg(0), box=box))) == BOX


def test_where_an_approximate_index_finds_nothing(search: VisualSearch, own: Thumbnails) -> None:
    """Five of the six lists are empty, and one list is searched."""
    embeddings = torch.cat([search.gallery.vector(0).expand(8, -1), search.gallery.vector(230)[None]])  # type: ignore[union-attr, index]
    gallery = Gallery.build(
        embeddings, torch.zeros(9, dtype=torch.int64), class_names=search.task.class_names, factory="IVF6,Flat"
    )
    few = Answers(VisualSearch(search.task, gallery))
    pages = [few.answer(sent(own.jpeg(place))) for place in range(0, 240, 8)]
    nothing = [page for page in pages if not names(page)]
    assert nothing
    assert {*map(said, nothing)} == {"No similar car found; move the box a little or relax the filters"}


def test_a_gallery_without_pictures(search: VisualSearch, own: Thumbnails) -> None:
    bare = Gallery(search.gallery.index, search.gallery.labels, [], search.gallery.class_names, "cosine")
    page = Answers(VisualSearch(search.task, bare)).answer(sent(own.jpeg(0)))
    assert names(page)[0] == LARK
    assert "data:image/gif" in page
    assert "verdict" not in page


def test_several_at_once(answers: Answers, own: Thumbnails) -> None:
    """The hooks of a heat map do not see images of other requests."""

    def shown(place: int) -> str:
        return answers.answer(sent(own.jpeg(place))).partition('<p class="hint">Numbers on')[0]

    places = [*range(0, 240, 8)]
    alone = [shown(place) for place in places]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shown, places)) == alone

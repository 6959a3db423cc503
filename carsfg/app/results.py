"""HTML of search results and error messages."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from carsfg.data.image_io import Box
from carsfg.retrieval.similarity import Metric
from carsfg.search.answer import Answer, Match, Share
from carsfg.search.display import MIN_SHARE, known_sentence
from carsfg.search.thumbnails import Thumbnails

EMPTY = '<p class="hint">Results appear here.</p>'
CLASSIFIER = "Classifier (classes the network was trained on)"
NUMBERS = {
    "cosine": "cosine similarities; 1 means identical embeddings",
    "euclidean": "negative Euclidean distances; 0 means identical embeddings",
}
BLANK_IMAGE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def answer_html(
    answer: Answer, thumbnails: Thumbnails | None, heat: Image.Image | None, metric: Metric = "cosine"
) -> str:
    """Return the HTML of an answer.

    Args:
        answer: matches, vote, class probabilities (if the network has a head) and known-car score of a photo.
        thumbnails: thumbnails of the gallery; None shows blank images.
        heat: photo with the heat map of its similarity to the nearest image; None leaves the section out.
        metric: how the embeddings of the gallery are compared.
    """
    verdict = ""
    if answer.known is not None:
        kind, words = ("yes", "Known car") if answer.is_known else ("no", "Probably not in the gallery")
        verdict = f'<p class="verdict {kind}"><strong>{words}</strong>: {escape(known_sentence(answer))}.</p>'
    classes = f"<section><h2>{CLASSIFIER}</h2>{_bars(answer.classes)}</section>" if answer.classes else ""
    cards = "".join(_card(match, thumbnails) for match in answer.matches)
    return (
        f'{verdict}<h2>Most similar</h2><ol class="matches">{cards}</ol><div class="columns">'
        f"<section><h2>Vote of the {len(answer.matches)} nearest images</h2>{_bars(answer.vote[:5])}</section>"
        f"{classes}{_heat(answer, heat)}</div>"
        f'<p class="hint">Numbers on the images: {NUMBERS[metric]}. Time: {_times(answer)}.</p>'
    )


def error_html(message: str) -> str:
    """Return the HTML of an error message; its first letter becomes a capital.

    Args:
        message: plain text: the problem and what to do.
    """
    return f'<p class="problem" role="alert">{escape(message[:1].upper() + message[1:])}</p>'


def data_url(jpeg: bytes) -> str:
    """Return a data URL of a JPEG file.

    Args:
        jpeg: content of the file.
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def preview_html(image: Image.Image, number: int) -> str:
    """Return a hidden image element that sends a photo back to a browser that cannot decode it.

    Args:
        image: decoded photo, RGB.
        number: identifies the photo in the browser.
    """
    return f'<img class="preview" data-number="{number}" src="{data_url(to_jpeg(image))}" alt="" hidden>'


def found_html(box: Box, size: tuple[int, int], number: int) -> str:
    """Return a hidden element with the box that was found, as shares of width and height, for the page to show.

    Args:
        box: `x0, y0, x1, y1` in pixels, half-open.
        size: width and height of the photo in pixels.
        number: identifies the photo in the browser.
    """
    shares = ",".join(f"{edge / side:.4f}" for edge, side in zip(box, size * 2, strict=True))
    return f'<i class="found-box" data-number="{number}" data-box="{shares}" hidden></i>'


def to_jpeg(image: Image.Image) -> bytes:
    """Encode an image as JPEG with quality 88.

    Args:
        image: RGB image of any size.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _card(match: Match, thumbnails: Thumbnails | None) -> str:
    name, url = escape(match.name), data_url(thumbnails.jpeg(match.place)) if thumbnails else BLANK_IMAGE
    kind = escape(" · ".join(match.attributes.values()))
    return (
        f'<li><button type="button" class="match" aria-label="Search with number {match.rank}: {name}">'
        f'<img src="{url}" alt=""><span class="name">{name}</span>'
        f'<span class="kind">{kind}</span><span class="score">{match.similarity:.3f}</span></button></li>'
    )


def _bars(shares: Sequence[Share]) -> str:
    rows = "".join(
        f'<li><span class="name">{escape(one.name)}</span><span class="percent">{100 * one.share:.0f} %</span>'
        f'<span class="bar"><span style="width:{100 * one.share:.1f}%"></span></span></li>'
        for one in shares
        if one.share >= MIN_SHARE
    )
    return f'<ul class="shares">{rows}</ul>'


def _heat(answer: Answer, heat: Image.Image | None) -> str:
    if heat is None:
        return ""
    name = escape(answer.matches[0].name)
    return (
        "<section><h2>Where the similarity comes from</h2>"
        f'<img class="heat" src="{data_url(to_jpeg(heat))}" alt="Heat map of the photo">'
        f'<p class="hint">Bright areas contribute to the similarity to the nearest image, {name}.</p></section>'
    )


def _times(answer: Answer) -> str:
    return ", ".join(f"{part} {1000 * took:.0f} ms" for part, took in answer.seconds.items())

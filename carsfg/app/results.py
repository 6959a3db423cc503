"""What was found, as a piece of a page."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from carsfg.search.display import LEAST, known_sentence
from carsfg.search.engine import Answer, Match, Share
from carsfg.search.thumbnails import Thumbnails

EMPTY = '<p class="hint">What is found will stand here.</p>'
NO_PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def page_of(answer: Answer, thumbnails: Thumbnails | None, heat: Image.Image | None) -> str:
    """Return the HTML of an answer.

    Args:
        answer: what was found.
        thumbnails: the gallery's pictures, if it has any.
        heat: where the similarity to the nearest comes from.
    """
    verdict = ""
    if answer.known is not None:
        kind, words = ("yes", "A car we know") if answer.is_known else ("no", "Perhaps no car we know")
        verdict = f'<p class="verdict {kind}"><strong>{words}</strong>: {escape(known_sentence(answer))}.</p>'
    cards = "".join(_card(match, thumbnails) for match in answer.matches)
    return (
        f'{verdict}<h2>Most similar</h2><ol class="matches">{cards}</ol><div class="columns">'
        f"<section><h2>Vote of the {len(answer.matches)} nearest</h2>{_bars(answer.vote[:5])}</section>"
        f"<section><h2>Classifier</h2>{_bars(answer.classes)}</section>{_heat(answer, heat)}</div>"
        f'<p class="hint">The numbers are similarities: 1 is the same picture. It took: {_times(answer)}.</p>'
    )


def complaint(words: str) -> str:
    """Return the HTML of a mistake.

    Args:
        words: what is wrong, and what to do.
    """
    return f'<p class="problem" role="alert">{escape(words[:1].upper() + words[1:])}</p>'


def data_url(jpeg: bytes) -> str:
    """Return a JPEG as a URL that holds it.

    Args:
        jpeg: the file.
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def preview(image: Image.Image, number: int) -> str:
    """Return the HTML that gives a page a photo which its browser cannot decode.

    Args:
        image: the photo, RGB.
        number: which of the page's photos it was.
    """
    return f'<img class="preview" data-number="{number}" src="{data_url(to_jpeg(image))}" alt="" hidden>'


def to_jpeg(image: Image.Image) -> bytes:
    """Encode an RGB image as JPEG.

    Args:
        image: it.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _card(match: Match, thumbnails: Thumbnails | None) -> str:
    name, url = escape(match.name), data_url(thumbnails.jpeg(match.place)) if thumbnails else NO_PICTURE
    kind = escape(" · ".join(str(part) for part in (match.make, match.body, match.year) if part))
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
        if one.share >= LEAST
    )
    return f'<ul class="shares">{rows}</ul>'


def _heat(answer: Answer, heat: Image.Image | None) -> str:
    if heat is None:
        return ""
    name = escape(answer.matches[0].name)
    return (
        "<section><h2>Where the similarity comes from</h2>"
        f'<img class="heat" src="{data_url(to_jpeg(heat))}" alt="Heat map of the photo">'
        f'<p class="hint">What glows makes the photo similar to the nearest, {name}.</p></section>'
    )


def _times(answer: Answer) -> str:
    return ", ".join(f"{part} {1000 * took:.0f} ms" for part, took in answer.seconds.items())

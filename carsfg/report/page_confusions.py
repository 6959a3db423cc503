"""The page's part on mistakes: how far off, which pairs, and what is hard."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from carsfg.report.confusions import KINDS, Pair, accuracy_by, confused_pairs, per_class, severity, twin_pairs
from carsfg.report.groups import Group

PAIRS = 12  # of each kind
Examples = Mapping[str, Image.Image]


def mistakes(groups: Sequence[Group], examples: Examples) -> str:
    """Return how far off the answers of all set-ups are, and the mistakes of each to unfold.

    Args:
        groups: all tested runs, as `carsfg.report.groups.group` puts them together.
        examples: an image of each class; may be empty.
    """
    found = [one for one in groups if one.confusions]
    if not found:
        return "<p>No run wrote its confusions: <code>carsfg test</code> does.</p>"
    places = {name: place for place, name in enumerate(examples)}
    best = max(found, key=_share_right)
    shown = "".join(
        f"<details{' open' if one is best else ''}><summary>{escape(one.label)}: {100 * _share_right(one):.2f} % of "
        f"{sum(one.confusions.values()):,} answers right{_seeds(one)}</summary>{_details(one, places)}</details>"
        for one in found
    )
    head = "<p class='note'>Answers of the classifier's head, on test images.</p>"
    return f"{_pictures(shown, examples)}{head}<h3>How far off</h3>{_severities(found)}{shown}"


def _seeds(one: Group) -> str:
    return f", {len(one.runs)} seeds together" if len(one.runs) > 1 else ""


def _share_right(one: Group) -> float:
    counts = severity(one.confusions)
    return counts[KINDS[0]] / sum(counts.values())


def _severities(groups: Sequence[Group]) -> str:
    """Stack the shares of each kind of answer, a row a set-up, best kinds first."""
    legend = "".join(f"<span><i class='kind{place}'></i>{kind}</span>" for place, kind in enumerate(KINDS))
    rows = ""
    for one in groups:
        counts = severity(one.confusions)
        shares = {kind: 100 * counts[kind] / sum(counts.values()) for kind in KINDS}
        words = ", ".join(f"{kind} {share:.1f} %" for kind, share in shares.items())
        bars = "".join(
            f"<i class='kind{place}' style='width:{share:.2f}%'></i>" for place, share in enumerate(shares.values())
        )
        rows += (
            f"<span>{escape(one.label)}</span><span class='track stacked' role='img' aria-label='{words}'>{bars}</span>"
        )
    return f"<p class='legend'>{legend}</p><div class='bars two'>{rows}</div>"


def _details(one: Group, places: Mapping[str, int]) -> str:
    counts = severity(one.confusions)
    images = sum(counts.values())
    far = _bars({kind: (count / images, count) for kind, count in counts.items()}, "{:.1f} %, {:,}")
    confused = "".join(_pair(pair, "taken for", places) for pair in confused_pairs(one.confusions, PAIRS))
    twins = "".join(_pair(pair, "mixed up with", places) for pair in twin_pairs(one.confusions)[:PAIRS])
    by = "".join(
        f"<details><summary>Right classes, by {what}</summary>{_bars(accuracy_by(one.confusions, part))}</details>"
        for part, what in (("make", "make"), ("body", "body type"), ("year", "year"))
    )
    classes = {name: (right / count, count) for name, (right, count) in per_class(one.confusions).items()}
    worst = dict(sorted(classes.items(), key=lambda item: item[1]))
    return (
        f"<h4>All answers</h4>{far}<div class='columns'><div><h4>Most often confused</h4>{confused or '<p>None.</p>'}"
        f"</div><div><h4>Twins: another year or body, both ways</h4>{twins or '<p>None.</p>'}</div></div>{by}"
        f"<details><summary>Accuracy of each class, worst first</summary>{_bars(worst)}</details>"
    )  # fmt: skip


def _pair(pair: Pair, verb: str, places: Mapping[str, int]) -> str:
    shown = "".join(
        f"<i class='car car{places[name]}' role='img' aria-label='{escape(name, quote=True)}'></i>"
        for name in (pair.truth, pair.predicted)
        if name in places
    )
    words = f"<b>{pair.images} of {pair.of}</b> {escape(pair.truth)}<br>{verb} {escape(pair.predicted)}"
    return f"<div class='pair'>{shown}<span>{words}</span></div>"


def _pictures(shown: str, examples: Examples) -> str:
    """Hold each picture that is shown once, however often it is."""
    rules = "".join(
        f".car{place}{{background-image:url({_jpeg(image)})}}"
        for place, image in enumerate(examples.values())
        if f"car{place}'" in shown
    )
    return f"<style>{rules}</style>" if rules else ""


def _bars(shares: Mapping[str, tuple[float, int]], words: str = "{:.1f} % of {:,}") -> str:
    rows = "".join(
        f"<span>{escape(name)}</span><span class='track'><i class='ours' style='width:{100 * share:.1f}%'></i></span>"
        f"<span>{words.format(100 * share, count)}</span>"
        for name, (share, count) in shares.items()
    )
    return f"<div class='bars'>{rows}</div>"


def _jpeg(image: Image.Image) -> str:
    small, buffer = image.convert("RGB"), io.BytesIO()
    small.thumbnail((144, 144))
    small.save(buffer, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

"""The report as one page that needs nothing but itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from carsfg.report.curves import figures
from carsfg.report.mistakes import KINDS, Pair, accuracy_by, confused_pairs, severity, twin_pairs
from carsfg.report.runs import Run, per_class
from carsfg.report.summary import Summary, summaries

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


def build_page(runs: Sequence[Run], examples: Mapping[str, Image.Image] | None = None) -> str:
    """Return the page: tables, figures, and the mistakes of each run.

    Args:
        runs: as `read_runs` gives them.
        examples: an image of each class, for the pairs most often confused.
    """
    tables = "".join(f"<h3>{escape(table.title)}</h3>{table.html()}" for table in summaries(runs))
    drawn = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption><img alt='{escape(title)}' src='{_svg(figure)}'></figure>"
        for title, figure in figures(runs).items()
    )
    mistaken = [run for run in runs if run.confusions]
    mistakes = "".join(_mistakes(run, examples or {}) for run in mistaken)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>carsfg: report of {len(runs)} runs</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{STYLE}</style></head><body><main>"
        f"<h1>carsfg: {len(runs)} runs</h1><nav><a href='#tables'>Tables</a><a href='#figures'>Figures</a>"
        "<a href='#mistakes'>Mistakes</a></nav>"
        f"<h2 id='tables'>Tables</h2>{tables}<h2 id='figures'>Figures</h2>{drawn}"
        f"<h2 id='mistakes'>Mistakes</h2>{mistakes or '<p>No run wrote its confusions.</p>'}</main></body></html>\n"
    )


def build_markdown(tables: Sequence[Summary]) -> str:
    """Return the tables as a Markdown file.

    Args:
        tables: in the order of the file.
    """
    return "\n\n".join(f"## {table.title}\n\n{table.markdown()}" for table in tables) + "\n"


def _mistakes(run: Run, examples: Mapping[str, Image.Image]) -> str:
    images = sum(run.confusions.values())
    kinds = severity(run.confusions)
    far = _bars({kind: (kinds[kind] / images, kinds[kind]) for kind in KINDS}, "{:.1f} %, {:,} images")
    pairs = "".join(_pair(pair, examples) for pair in confused_pairs(run.confusions))
    twins = "".join(_pair(pair, {}) for pair in twin_pairs(run.confusions)[:15])
    by = "".join(
        f"<details><summary>Accuracy by {part}</summary>{_bars(accuracy_by(run.confusions, part))}</details>"
        for part in ("make", "body", "year")
    )
    classes = {name: (right / count, count) for name, (right, count) in per_class(run.confusions).items()}
    worst = dict(sorted(classes.items(), key=lambda one: one[1]))
    return (
        f"<h3>{escape(run.name)}: {100 * kinds[KINDS[0]] / images:.2f} % of {images:,} images right</h3>"
        f"<h4>How far off</h4>{far}<div class='columns'><section><h4>Most often confused</h4>{pairs}</section>"
        f"<section><h4>One model, another year or body</h4>{twins or '<p>None.</p>'}</section></div>{by}"
        f"<details><summary>Accuracy of each class, worst first</summary>{_bars(worst)}</details>"
    )


def _pair(pair: Pair, examples: Mapping[str, Image.Image]) -> str:
    pictures = "".join(
        f"<img alt='{escape(name, quote=True)}' src='{_jpeg(examples[name])}'>"
        for name in (pair.truth, pair.predicted)
        if name in examples
    )
    words = f"{pair.images} of {pair.of} {escape(pair.truth)}<br>taken for {escape(pair.predicted)}"
    return f"<div class='pair'>{pictures}<span>{words}</span></div>"


def _bars(shares: Mapping[str, tuple[float, int]], words: str = "{:.1f} % of {:,}") -> str:
    rows = "".join(
        f"<span>{escape(name)}</span><i style='width:{100 * share:.1f}%'></i>"
        f"<span>{words.format(100 * share, count)}</span>"
        for name, (share, count) in shares.items()
    )
    return f"<div class='bars'>{rows}</div>"


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _jpeg(image: Image.Image) -> str:
    small, buffer = image.convert("RGB"), io.BytesIO()
    small.thumbnail((192, 192))
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

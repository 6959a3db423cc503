"""The report as one page that needs nothing but itself."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from carsfg.evaluation.glossary import PROTOCOLS, RANKINGS
from carsfg.report.curves import Drawing, figures
from carsfg.report.groups import Group
from carsfg.report.overview import overview
from carsfg.report.page_confusions import mistakes
from carsfg.report.paper_tables import rankings, summaries
from carsfg.report.table import Summary

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
SECTIONS = {"overview": "At a glance", "tables": "Tables", "figures": "Figures", "mistakes": "Mistakes", "runs": "Runs"}
MADE_BY = (
    "weights", "protocol", "val", "image_size", "augment", "batch_size", "optimizer", "lr", "max_epochs", "precision",
    "seed", "split_hash", "versions",
)  # fmt: skip
TERMS = {
    **PROTOCOLS,
    "seed_leaky": "validated on augmented copies of training images, whose other copies are trained on",
    "F1, precision": "means over the classes, weighted by their images",
    "last epoch": "the weights of the last epoch are scored: nothing was chosen among epochs",
    **RANKINGS,
}


def build_page(groups: Sequence[Group], examples: Mapping[str, Image.Image] | None = None) -> str:
    """Return the page: all runs at a glance, tables, figures, mistakes, and what made each run.

    Args:
        groups: all tested runs, as `carsfg.report.groups.group` puts them together.
        examples: an image of each class, for the pairs most often confused.
    """
    tables = [*summaries(groups), rankings(groups)]
    parts = {
        "overview": overview(groups),
        "tables": "".join(f"<h3>{escape(table.title)}</h3>{table.html()}" for table in tables if table.rows) + _terms(),
        "figures": "".join(map(_drawing, figures(groups))) or "<p>There are no runs of the report's experiments.</p>",
        "mistakes": mistakes(groups, examples or {}),
        "runs": _runs(groups).html(),
    }
    links = "".join(f"<a href='#{name}'>{title}</a>" for name, title in SECTIONS.items())
    body = "".join(
        f"<section aria-labelledby='{name}'><h2 id='{name}'>{title}</h2>{parts[name]}</section>"
        for name, title in SECTIONS.items()
    )
    count = sum(len(one.runs) for one in groups)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>carsfg report</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{STYLE}</style></head><body>"
        f"<header><h1>carsfg report</h1><p>{count} tested {'run' if count == 1 else 'runs'}, beside the course "
        "report whose experiments they repeat and go on from: O. Almog and A. Edri, <cite>Basics of Deep Learning, "
        f"final project</cite>, Colman, 2025 (“the paper” below).</p><nav aria-label='Sections'>{links}</nav></header>"
        f"<main>{body}</main></body></html>\n"
    )


def build_markdown(groups: Sequence[Group]) -> str:
    """Return the tables as a Markdown file.

    Args:
        groups: all tested runs.
    """
    tables = [table for table in (*summaries(groups), rankings(groups), _runs(groups)) if table.rows]
    return "# carsfg report\n\n" + "\n\n".join(f"## {table.title}\n\n{table.markdown()}" for table in tables) + "\n"


def _runs(groups: Sequence[Group]) -> Summary:
    """List what made each run, as it is stamped."""
    rows = [
        [run.name, *(str(run.stamp.get(key, "")) for key in MADE_BY)] for one in groups for run in one.runs
    ]  # fmt: skip
    note = "Runs that differ in seed, hardware or versions alone are repetitions, and are averaged; no others are."
    return Summary("Runs", ["run", *(key.replace("_", " ") for key in MADE_BY)], rows, [note])


def _terms() -> str:
    lines = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in TERMS.items())
    return f"<details><summary>What the terms mean</summary><dl>{lines}</dl></details>"


def _drawing(drawing: Drawing) -> str:
    panels = "".join(
        f"<img alt='{escape(words, quote=True)}' src='{_svg(figure)}'>" for figure, words in drawing.panels
    )
    return f"<figure><figcaption>{escape(drawing.title)}</figcaption><div class='panels'>{panels}</div></figure>"


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "carsfg"}):  # names in the file are the same for the same runs
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()

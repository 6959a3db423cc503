"""The report as one HTML page that needs no other file, and its tables as Markdown."""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from carsfg.evaluation.glossary import PROTOCOLS, RANKINGS
from carsfg.report.all_runs import all_runs, retrieval_list
from carsfg.report.confusion_view import confusion_views, pictures
from carsfg.report.confusions import KINDS
from carsfg.report.curves import figures
from carsfg.report.groups import Group
from carsfg.report.overview import LEGEND, overview
from carsfg.report.paper_tables import paper_tables
from carsfg.report.table import TextTable

SECTIONS = {
    "overview": "At a glance", "runs": "All runs", "tables": "Tables", "figures": "Figures",
    "confusions": "Confusions", "records": "Run records",
}  # fmt: skip
TERMS = {
    **PROTOCOLS,
    "seed_leaky": "validation on augmented copies of training images; training uses other copies of the same images",
    "F1, precision": "means over the classes, weighted by their images",
    "macro F1": "plain mean over the classes: rare ones count as much as common ones",
    "last epoch": "the weights of the last epoch are scored; no epoch was chosen",
    **RANKINGS,
}


def build_page(
    groups: Sequence[Group], examples: Mapping[str, Image.Image] | None = None, folder: str | Path = "."
) -> str:
    """Return the page: all runs, the paper's tables, figures, confusions, and the record of each run.

    Args:
        groups: all runs, as `carsfg.report.groups.group` returns them.
        examples: an image per class, for the pairs that are confused most often.
        folder: where the page will lie; links to the predictions of runs are relative to it.
    """
    views = confusion_views(groups)
    told = [view for view in views if view.names_bodies]
    by_data = overview(groups)
    bars = [bar for same in by_data.values() for bar in same]
    shown = pictures(views, examples or {})
    return _environment().get_template("report.html").render(
        sections=SECTIONS,
        count=sum(len(one.runs) for one in groups),
        legend={kind: what for kind, what in LEGEND.items() if kind in {one for bar in bars for one in bar.kinds}},
        overview=by_data,
        runs=all_runs(groups),
        predictions={run.name: _link(run.predictions, folder) for one in groups for run in one.runs if run.predictions},
        tables=[table for table in (*paper_tables(groups), retrieval_list(groups)) if _is_shown(table)],
        terms=TERMS,
        drawings=[(one.title, [(_svg(figure), words) for figure, words in one.panels]) for one in figures(groups)],
        views=views,
        kinds=[(number, kind) for number, kind in enumerate(KINDS) if any(view.kinds[kind][1] for view in told)],
        best=max(views, key=lambda view: view.right, default=None),
        pictures=shown,
        places={name: place for place, name in enumerate(shown)},
        records=[(one.label, [(run.name, _record(run.record.flat())) for run in one.runs]) for one in groups],
    )  # fmt: skip


def _link(file: Path, folder: str | Path) -> str:
    """Return the relative address of a file on a page in a folder; the whole one if they have no folder in common."""
    try:
        return quote(Path(os.path.relpath(file, folder)).as_posix())
    except ValueError:  # another drive
        return file.resolve().as_uri()


def build_markdown(groups: Sequence[Group]) -> str:
    """Return the tables as a Markdown file.

    Args:
        groups: all runs.
    """
    tables = [all_runs(groups), *paper_tables(groups), retrieval_list(groups)]
    parts = [f"## {table.title}\n\n{table.markdown()}" for table in tables if _is_shown(table)]
    return "# carsfg report\n\n" + "\n\n".join(parts) + "\n"


def _is_shown(table: TextTable) -> bool:
    """Whether a table has a run; the paper's tables also list experiments without a run."""
    return any(sum(map(bool, row)) > 3 for row in table.rows)


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("carsfg.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters["unbroken"] = _unbroken
    return found


def _unbroken(cell: str) -> str:
    """Keep a number and its unit on one line."""
    return cell.replace(" %", "\u00a0%").replace(" px", "\u00a0px").replace("± ", "±\u00a0")


def _record(flat: Mapping[str, object]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in sorted(flat.items())}


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "carsfg"}):  # equal runs give equal files
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()

"""A table of the report: columns, rows of text and notes, as Markdown and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass
class Summary:
    """A table.

    Attributes:
        title: what it shows.
        columns: their names.
        rows: cells, as text.
        notes: below it.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as Markdown, notes below."""
        cells = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def html(self) -> str:
        """Return the table as HTML, notes below; each cell names its column, for screens too narrow for columns."""
        head = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in self.columns)
        body = "".join(f'<tr role="row">{self._cells(row)}</tr>' for row in self.rows)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        table = (
            f'<table role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
            f'<tbody role="rowgroup">{body}</tbody></table>'
        )
        scrolls = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(self.title)}">{table}</div>'
        return f"{scrolls}<ul class='note'>{notes}</ul>"

    def _cells(self, row: Sequence[str]) -> str:
        return "".join(
            f'<td role="cell" data-label="{escape(name)}">{escape(_unbroken(cell))}</td>'
            for name, cell in zip(self.columns, row, strict=True)
        )


def _unbroken(cell: str) -> str:
    """Keep a number and its unit on one line."""
    return cell.replace(" %", "\u00a0%").replace(" px", "\u00a0px")

"""A table of text: columns, rows and notes."""

from dataclasses import dataclass, field


@dataclass
class TextTable:
    """A table of text, for the page and as Markdown.

    Attributes:
        title: heading, such as `Table 2: transfer learning`.
        columns: headings from left to right.
        rows: the cells of each row, one per column.
        notes: sentences below the table.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as Markdown, notes below; the title is left out."""
        cells = [self.columns, ["---"] * len(self.columns), *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)]).rstrip("\n")

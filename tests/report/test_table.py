"""A table as Markdown."""

from carsfg.report.table import TextTable


def test_cells_are_escaped() -> None:
    table = TextTable("<t>", ["a"], [["x | <b>"]])
    assert "x \\| <b>" in table.markdown()


def test_notes_are_below() -> None:
    table = TextTable("t", ["a", "b"], [["1.5 %", "64 px"]], ["a note"])
    assert table.markdown() == "| a | b |\n| --- | --- |\n| 1.5 % | 64 px |\n\n- a note"

"""A table as Markdown and as HTML."""

from carsfg.report.table import Summary


def test_cells_are_escaped() -> None:
    table = Summary("<t>", ["a"], [["x | <b>"]])
    assert "x \\| <b>" in table.markdown()
    assert "x | &lt;b&gt;" in table.html()
    assert "<t>" not in table.html()


def test_cells_name_their_columns() -> None:
    table = Summary("t", ["a", "b"], [["1.5 %", "64 px"]], ["a note"])
    assert (
        '<td role="cell" data-label="a">1.5\u00a0%</td><td role="cell" data-label="b">64\u00a0px</td>' in table.html()
    )
    assert table.markdown() == "| a | b |\n| --- | --- |\n| 1.5 % | 64 px |\n\n- a note"

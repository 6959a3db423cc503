"""The lines after a test."""

from pathlib import Path

from carsfg.report.summary import summary_lines


def test_accuracy_weakest_classes_and_confused_pairs(tmp_path: Path) -> None:
    (tmp_path / "per_class.csv").write_text(
        "class,images,correct,accuracy\nGolf,50,45,0.9\nPolo,40,20,0.5\nUp,10,5,0.5\nnone,0,0,\n"
    )
    (tmp_path / "confusions.csv").write_text(
        "class,predicted,images\nGolf,Golf,45\nGolf,Polo,5\nPolo,Golf,19\nPolo,Polo,20\nPolo,Up,1\nUp,Up,5\nUp,Polo,5\n"
    )
    assert list(summary_lines(tmp_path)) == [
        "top-1 70.00 % (70 of 100 images; 95 % interval 60.42 % to 78.11 %)",  # Wilson's, by hand
        "weakest classes: Polo 20 of 40; Up 5 of 10; Golf 45 of 50",
        "most confused: Polo taken for Golf 19x; Golf taken for Polo 5x; Up taken for Polo 5x; Polo taken for Up 1x",
    ]


def test_a_run_without_a_scored_head_has_none(tmp_path: Path) -> None:
    assert list(summary_lines(tmp_path)) == []

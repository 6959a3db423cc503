"""The columns of predictions.csv, by hand."""

from pathlib import Path

import torch

from carsfg.search.gallery import Gallery
from carsfg.search.predictions import box_columns, class_columns, gallery_columns, neighbour_columns, write_table


def test_the_five_most_probable_classes() -> None:
    logits = torch.tensor([[0.05, 0.3, 0.1, 0.25, 0.02, 0.28]]).log()
    assert class_columns(logits, list("abcdef")) == {
        "top1": ["b"], "probability1": [0.3], "top2": ["f"], "probability2": [0.28], "top3": ["d"],
        "probability3": [0.25], "top4": ["c"], "probability4": [0.1], "top5": ["a"], "probability5": [0.05],
    }  # fmt: skip


def test_the_vote_and_the_nearest() -> None:
    """Of the second photo, two classes have one vote each: the smaller label wins. The third has no neighbours."""
    neighbours = torch.tensor([[2, 0, 1], [2, 0, -1], [-1, -1, -1]])
    assert neighbour_columns(neighbours, torch.tensor([0, 0, 1]), ["a", "b"], "xyz".__getitem__) == {
        "vote": ["a", "a", ""],
        "nearest": ["z", "z", ""],
        "nearest_label": ["b", "b", ""],
    }


def test_a_gallery_without_names_and_calibration() -> None:
    """Euclidean distances of (0, 0): 5 to the first vector, 2 to the second."""
    gallery = Gallery.build(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([0, 1]), metric="euclidean")
    assert gallery_columns(gallery, torch.zeros(1, 2), 1) == {
        "vote": ["1"],
        "nearest": ["1"],
        "nearest_label": ["1"],
        "nearest_score": [-2.0],
    }


def test_boxes_and_the_file(tmp_path: Path) -> None:
    columns = {"path": ["a,b.png", "c.png"]} | box_columns([(1, 2, 30, 40), None])
    write_table(tmp_path / "new/p.csv", columns)
    assert (tmp_path / "new/p.csv").read_bytes() == b'path,x0,y0,x1,y1\r\n"a,b.png",1,2,30,40\r\nc.png,,,,\r\n'
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.csv"]

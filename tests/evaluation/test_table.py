"""The table of `carsfg evaluate`: nothing is cut, and every score is defined below it."""

import math
from typing import Any

import pytest

from carsfg.evaluation.scores import ALL, WITHOUT_DUPLICATES, Row
from carsfg.evaluation.table import print_evaluation

FACTS: dict[str, Any] = {
    "checkpoint": "lightning_logs/tl_exp3/version_0/checkpoints/epoch=9-step=2550.ckpt",
    "task": "CarClassifier",
    "protocol": "official",
    "data": "Stanford Cars",
    "split_hash": "0123456789ab",
    "trained": {
        "weights": "DEFAULT",
        "chosen_on": "last epoch",
        "seed": 3,
        "length": "10 epochs",
        "precision": "32-true",
    },
    "has_head": True,
    "pretrained": None,
    "unknown_start": None,
    "image_size": 224,
    "metric": "cosine",
    "knn": 10,
    "interval": 0.95,
    "probe_strength": 0.01,
    "device": "CPU (x86_64, 2 threads)",
    "precision": "bf16",
    "duplicates": {"train": 35, "test": 41},
}


def row(protocol: str, figure: str, value: float = 0.82096, images: str = ALL, left_out: int = 0) -> Row:
    resamples = 400 if protocol in ("closed_loo", "zero_shot") else 1000
    return Row(images, protocol, figure, value, value - 0.01, value + 0.008, 8041, 8144, left_out, resamples)


ROWS = [
    row("official", "head_top_1"),
    row("official", "knn_10", 0.05),
    row("closed_loo", "map_at_r", math.nan, left_out=4),
    row("official", "head_top_1", 1.0, WITHOUT_DUPLICATES),
    row("official", "knn_10", 0.05, WITHOUT_DUPLICATES),
    row("closed_loo", "map_at_r", 0.3, WITHOUT_DUPLICATES, left_out=2),
]


def printed(capsys: pytest.CaptureFixture[str], rows: list[Row] = ROWS, **facts: Any) -> tuple[list[list[str]], str]:
    """The table's cells, and what is below it without line breaks."""
    print_evaluation(rows, FACTS | facts)
    out = capsys.readouterr().out
    lines = out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    end = next(number for number, line in enumerate(lines) if line.startswith("└"))
    return cells, " ".join(" ".join(lines[end + 1 :]).split())


@pytest.mark.parametrize("columns", ["80", "100", "200"])
def test_figures_and_definitions(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    cells, below = printed(capsys)
    assert cells == [
        ["official", "8,041 images", "8,041 images"],
        ["head top-1", "82.10 [81.10, 82.90]", "100.00 [99.00, 100.80]"],
        ["k-NN, k = 10", "5.00 [ 4.00,  5.80]", "5.00 [ 4.00,  5.80]"],
        ["closed_loo", "8,041 in 8,144", "8,041 in 8,144"],
        ["MAP@R", "-", "30.00 [29.00, 30.80]"],
    ]
    for words in (
        "value [low, high] mean over queries, and 95 % bootstrap interval; official: percentiles of 1,000 resamples of "
        "the queries; closed_loo: percentiles of 400 resamples of queries and gallery together, centred on the value",
        "zero_shot not shown: only for checkpoints trained on the first half of the classes",
        "k-NN, k = 10 share of images whose class wins the vote of the 10 nearest training images",
        "MAP@R (1/R) sum of precision@i",
        "L2 0.01, chosen on a hold-out",
        "by cosine similarity, ties by gallery index; the query itself is excluded by its index",
        "without duplicates 35 of train, 41 of test are left out: another file has the same bytes",
        "no relevant image queries left out: 4 in closed_loo, all images; 2 in closed_loo, without duplicates",
        "trained weights DEFAULT, chosen on last epoch, seed 3, 10 epochs, 32-true",
        "scored 224 pixels, bf16, CPU (x86_64, 2 threads)",
    ):
        assert words in below
    assert "closed_train_gallery" not in below
    assert "…" not in below


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"duplicates": {"train": 0, "test": 0}}, "no two image files are byte-identical"),
        ({"protocol": "seed_leaky"}, "its validation metrics are of copies of training images"),
        ({"trained": {}}, "trained no run record"),
        ({"trained": {"seed": 3}}, "trained weights unknown, chosen on unknown, seed 3, unknown epochs, unknown"),
        (
            {"trained": FACTS["trained"] | {"split_hash": "ba9876543210"}},
            "(hash 0123456789ab) differ from those of training (ba9876543210)",
        ),
        ({"metric": "euclidean"}, "nearest by Euclidean distance"),
    ],
)
def test_remarks(
    facts: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert words in printed(capsys, **facts)[1]


def test_a_pretrained_network_without_a_head(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    rows = [one for one in ROWS if one.score != "head_top_1"]
    made = {"has_head": False, "pretrained": "timm:test_vit, weights w.pt", "trained": {}}
    print_evaluation(rows, FACTS | made)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("timm:test_vit, weights w.pt, scored on Stanford Cars")
    assert "head top-1 share" not in shown
    assert "no head no head top-1: the network has no head for these classes" in shown
    assert "not on this data: the network is as it was published" in shown
    assert "no run record" not in shown


def test_zero_shot(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    facts = {"protocol": "zero_shot", "probe_strength": None, "unknown_start": "best.ckpt", "duplicates": {"both": 2}}
    cells, below = printed(capsys, [row("zero_shot", "top_1")], **facts)
    assert cells == [["zero_shot", "8,041 in 8,144"], ["top-1", "82.10 [81.10, 82.90]"]]
    assert "no head no k-NN and no linear probe either" in below
    assert "initialised from best.ckpt, which is missing" in below
    assert "not shown" not in below
    assert "logistic" not in below

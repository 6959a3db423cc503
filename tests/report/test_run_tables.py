"""The tables after a test: own metrics, and the paper's row where it is comparable."""

from typing import Any

import pytest

from carsfg.report.paper import PAPER, RETRIEVAL
from carsfg.report.run_tables import print_retrieval_table, print_test_table
from carsfg.run_record import RunRecord
from tests.report.conftest import record_of

METRICS = {
    "test/loss": 1.23456,
    "test/f1_weighted": 0.5,
    "test/f1_macro": 0.4,
    "test/recall_weighted": 0.51239,
    "test/precision_weighted": 0.6,
    "test/top1": 0.51239,
    "test/top5": 0.8,
    "test/make": 0.7,
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def record(experiment: str, **values: Any) -> RunRecord:
    plain: dict[str, Any] = {"weights": "IMAGENET1K_V2", "max_epochs": 10, "hardware": "1 x CPU (x86_64, 2 threads)"}
    return record_of(experiment, **plain | values)


def rows(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def test_ours_below_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    print_test_table(record("tl_exp1"), METRICS)
    out = capsys.readouterr().out
    assert out.startswith("tl_exp1: test, protocol official on Stanford Cars")
    assert rows(out) == [
        ["the paper *", "2.3724", "41.96 %", "", "42.91 %", "42.37 %"],
        ["this run", "1.2346", "50.00 %", "40.00 %", "60.00 %", "51.24 %"],
    ]
    assert "top5 80.00 %  make 70.00 %" in out
    assert f"* ResNet50 - Frozen: {PAPER['tl_exp1'].meaning}." in out
    assert "weights IMAGENET1K_V2, chosen on last epoch, seed 0, 10 epochs, 32-true, 1 x CPU (x86_64, 2 threads)" in out


def test_own_experiments_stand_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_test_table(record("tl_best"), METRICS)
    out = capsys.readouterr().out
    assert [row[0] for row in rows(out)] == ["this run"]
    assert "paper" not in out


def test_missing_metrics_are_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    print_test_table(record("ir_zero_shot"), {})
    assert rows(capsys.readouterr().out) == [["this run", "-", "-", "-", "-", "-"]]


def test_the_leak_shows_both_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    leaked = {key.replace("test/", "val/"): value + 0.25 for key, value in METRICS.items()}
    print_test_table(record("cnn_seed_leaky", protocol="seed_leaky"), METRICS | leaked)
    paper, first, second = rows(capsys.readouterr().out)
    assert paper[-1] == "72.26 %"
    assert first[0].endswith("leaked: copies of training images")
    assert first[1:] == ["1.4846", "75.00 %", "65.00 %", "85.00 %", "76.24 %"]
    assert second[0].endswith("honest: test images")
    assert second[1:] == ["1.2346", "50.00 %", "40.00 %", "60.00 %", "51.24 %"]


@pytest.mark.parametrize(
    ("experiment", "values"),
    [
        ("tl_exp1", {"data_name": "drawn cars"}),
        ("tl_exp1", {"data_name": "my photos"}),
        ("tl_exp1", {"scored_images": 8}),
        ("tl_exp1", {"protocol": "seed_leaky"}),
        ("cnn_exp3", {}),  # the paper's was scored on copies of training images
    ],
)
def test_no_row_of_the_paper_if_it_is_not_comparable(
    capsys: pytest.CaptureFixture[str], experiment: str, values: dict[str, Any]
) -> None:
    print_test_table(record(experiment, **values), METRICS)
    out = capsys.readouterr().out
    assert [row[0] for row in rows(out)] == ["this run"]
    assert "the paper" not in out
    assert ("8 of 16 images" in " ".join(out.split())) == ("scored_images" in values)


@pytest.mark.parametrize("values", [{"data_name": "drawn cars"}, {"scored_images": 8}, {"retrieval": "closed_loo"}])
def test_no_retrieval_row_of_the_paper_if_it_is_not_comparable(
    capsys: pytest.CaptureFixture[str], values: dict[str, Any]
) -> None:
    print_retrieval_table(record("ir_exp1", **{"retrieval": "closed_train_gallery"} | values), SEARCHED)
    out = capsys.readouterr().out
    assert [row[0] for row in rows(out)] == ["this run, k=3"]
    assert "the paper" not in out


SEARCH = {
    "knn_3": 0.25,
    "knn_3_f1_weighted": 0.125,
    "knn_3_f1_macro": 0.0625,
    "knn_3_recall_weighted": 0.25,
    "knn_3_precision_weighted": 0.5,
    "fit_s": 0.01,
    "predict_s": 1.5,
    "top_1": 0.3,
    "top_5": 0.4,
    "top_10": 0.5,
    "r_precision": 0.2,
    "map_at_r": 0.1,
    "map": 0.15,
    "left_out": 2.0,
}
SEARCHED = {f"test/retrieval/{key}": value for key, value in SEARCH.items()}


def test_a_search_in_the_columns_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    print_retrieval_table(record("ir_exp1", retrieval="closed_train_gallery", metric="euclidean"), SEARCHED)
    out = capsys.readouterr().out
    assert out.startswith("ir_exp1: k-NN and retrieval, closed_train_gallery by euclidean on Stanford Cars")
    assert rows(out) == [
        ["the paper *", "75.23 %", "", "74.93 %", "77.38 %", "0.0092", "1.1998"],
        ["this run, k=3", "12.50 %", "6.25 %", "25.00 %", "50.00 %", "0.0100", "1.5000"],
    ]
    assert (
        "top-1 30.00 %  top-5 40.00 %  top-10 50.00 %  R-precision 20.00 %  MAP@R 10.00 %  mAP 15.00 %"
        in out.replace("precision@10 -  ", "")
    )
    assert "2 queries without a relevant image" in out


def test_without_a_search_there_is_no_such_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_retrieval_table(record("tl_exp1"), METRICS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", RETRIEVAL)
def test_recall_is_accuracy_in_the_paper_s_table_4(name: str) -> None:
    assert RETRIEVAL[name].recall_weighted == RETRIEVAL[name].top1


def test_nothing_is_cut_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_test_table(record("tl_densenet121"), METRICS)
    out = capsys.readouterr().out
    assert rows(out)[0] == ["the paper *", "1.0800", "71.70 %", "", "75.43 %", "71.69 %"]
    print_retrieval_table(record("ir_exp1", retrieval="closed_train_gallery", metric="euclidean"), SEARCHED)
    assert "…" not in out + capsys.readouterr().out


@pytest.mark.parametrize("name", PAPER)
def test_recall_is_accuracy_in_the_paper(name: str) -> None:
    """Weighted recall equals accuracy by definition, so a slip of a digit in either would show."""
    assert PAPER[name].recall_weighted == PAPER[name].top1

"""One table of all runs: the settings that differ, and the best first."""

from pathlib import Path

from carsfg.report.all_runs import MAX_COLUMNS, all_runs, retrieval_list
from carsfg.report.groups import group
from carsfg.report.runs import read_runs
from carsfg.report.table import TextTable
from tests.report.conftest import CURVES, MakeRun

UNTESTED = "epoch,step,val/top1,val/loss\n0,1,0.8,1\n1,2,0.9,1\n"


def table_of(logs: Path) -> TextTable:
    return all_runs(group(read_runs(logs)))


def cells(table: TextTable, run: str) -> dict[str, str]:
    (found,) = [row for row in table.rows if row[0] == run]
    return dict(zip(table.columns, found, strict=True))


def test_settings_that_differ_and_the_best_first(make_run: MakeRun) -> None:
    make_run("mine/a", top1=0.25, lr=0.01)
    make_run("mine/b", top1=0.75, lr=0.1, max_epochs=1)
    make_run("mine/c", top1=0.5, lr=0.01, seed=3)
    table = table_of(make_run("other/d", top1=0.5, backbone=None, freeze=None))
    assert table.columns == ["run", "network", "test top-1", "val top-1", "lr", "max epochs", "seeds"]
    assert table.rows == [
        ["mine/b", "resnet50 frozen", "75.00 %", "40.00 %", "0.1", "1", "0"],
        ["other/d", "CarClassifier", "50.00 %", "40.00 %", "0.001", "2", "0"],
        ["mine (2 runs)", "resnet50 frozen", "37.50 % ± 17.68", "40.00 % ± 0.00", "0.01", "2", "0, 3"],
    ]


def test_other_data_and_partial_tests_come_last(make_run: MakeRun) -> None:
    make_run("a/0", top1=0.9, scored_images=8)
    make_run("b/0", top1=0.99, data_name="my photos")
    table = table_of(make_run("c/0", top1=0.2))
    assert [row[0] for row in table.rows] == ["c/0", "a/0", "b/0"]
    assert cells(table, "a/0")["test top-1"] == "90.00 %, 8 of 16 images"
    assert cells(table, "b/0")["data"] == "my photos"
    assert "8 of 16" in table.notes[-1]


def test_runs_without_a_test_follow_by_validation(make_run: MakeRun) -> None:
    make_run("a/0")
    make_run("b/0", metrics=UNTESTED, scored_images=0)
    table = table_of(make_run("b/1", metrics=UNTESTED.replace("0.9", "0.95"), scored_images=0, lr=0.1))
    assert [row[0] for row in table.rows] == ["a/0", "b/1", "b/0"]
    assert (cells(table, "b/1")["val top-1"], cells(table, "b/1")["test top-1"]) == ("95.00 %", "")


def test_leaked_validation_is_marked(make_run: MakeRun) -> None:
    table = table_of(make_run("a/0", protocol="seed_leaky"))
    assert cells(table, "a/0")["val top-1"] == "40.00 % on copies"


def test_further_keys_share_a_column(make_run: MakeRun) -> None:
    many: dict[str, dict[str, object]] = {f"my.Callback{place}": {} for place in range(MAX_COLUMNS + 2)}
    make_run("a/0", lr=0.1)
    table = table_of(make_run("a/1", callbacks=many))
    assert table.columns[4:5] == ["lr"]
    assert "other keys" in table.columns
    assert (
        cells(table, "a/1")["other keys"]
        == f"Callback{MAX_COLUMNS - 1}, Callback{MAX_COLUMNS}, Callback{MAX_COLUMNS + 1}"
    )
    assert cells(table, "a/0")["other keys"] == ""


def test_retrieval_of_own_experiments(make_run: MakeRun) -> None:
    keys = ("top_1", "map_at_r", "knn_10")
    metrics = CURVES.format(top1=0.5).replace("\n", "," * len(keys) + "\n").splitlines()
    metrics[0] = metrics[0].rstrip(",") + "".join(f",test/retrieval/{key}" for key in keys)
    metrics[-1] = metrics[-1].rstrip(",") + ",0.3,0.2,0.4"
    logs = make_run("mine/0", metrics="\n".join(metrics), metric="cosine", data_name="my photos")
    table = retrieval_list(group(read_runs(logs)))
    (row,) = table.rows
    found = dict(zip(table.columns, row, strict=True))
    assert (found["top-1"], found["MAP@R"], found["k-NN vote"]) == ("30.00 %", "20.00 %", "k = 10: 40.00 %")
    assert (found["metric"], found["protocol"]) == ("cosine", "official, closed_loo, my photos, 224 px")

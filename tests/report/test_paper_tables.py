"""The paper's tables: the cells of a row, and runs that are not comparable."""

from pathlib import Path
from typing import Any

import pytest

from carsfg.report.all_runs import retrieval_list
from carsfg.report.groups import group
from carsfg.report.paper_tables import paper_tables, readme_tables
from carsfg.report.runs import read_runs
from carsfg.report.table import TextTable
from tests.report.conftest import MakeRun


def tables(logs: Path) -> list[TextTable]:
    return paper_tables(group(read_runs(logs)))


def row(table: TextTable, experiment: str) -> dict[str, str]:
    (found,) = [cells for cells in table.rows if cells[0] == experiment]
    return dict(zip(table.columns, found, strict=True))


def test_a_row_of_table_2(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.40)
    table, _, _ = tables(make_run("tl_exp1/version_1", top1=0.50, seed=1))
    assert row(table, "tl_exp1") == {
        "experiment": "tl_exp1", "network": "resnet50 frozen", "paper": "42.37 %", "ours, top-1": "45.00 % ± 7.07",
        "difference": "+2.63", "F1 (paper)": "41.00 % ± 0.00 (41.96)", "precision (paper)": "",
        "loss (paper)": "2.2500 (2.3724)", "protocol": "official, 224 px", "chosen on": "last epoch", "seed": "0, 1",
        "hardware": "1 x CPU",
    }  # fmt: skip
    assert row(table, "tl_exp3")["ours, top-1"] == "not run"
    assert "| tl_exp1 | resnet50 frozen | 42.37 % | 45.00 % ± 7.07 | +2.63 |" in table.markdown()


def test_what_is_compared_although_it_differs(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.5, backbone="mobilenet_v2")
    table, _, _ = tables(make_run("tl_exp3/version_0", top1=0.8, freeze="none", image_size=128))
    assert [row(table, name)["difference"] for name in ("tl_exp1", "tl_exp3")] == ["+7.63 *", "+6.22 *"]


@pytest.mark.parametrize(
    "values",
    [{"data_name": "drawn cars"}, {"data_name": "photos"}, {"scored_images": 8}, {"protocol": "zero_shot"}],
)
def test_other_data_partial_tests_and_other_protocols_are_not_in_the_paper_s_tables(
    make_run: MakeRun, values: dict[str, Any]
) -> None:
    table, _, _ = tables(make_run(**values))
    found = row(table, "tl_exp1")
    assert (found["network"], found["ours, top-1"]) == ("", "not run")


def test_own_experiments_are_not_in_the_paper_s_tables_whatever_their_name(make_run: MakeRun) -> None:
    table, _, _ = tables(make_run("tl_mine/version_0"))
    assert [cells[0] for cells in table.rows] == ["tl_exp1", "tl_exp3", "tl_densenet121"]


def test_the_short_table(make_run: MakeRun) -> None:
    make_run("cnn_seed_leaky/version_0", top1=0.41, protocol="seed_leaky", backbone=None, freeze="none")
    make_run("cnn_exp3/version_0", top1=0.31, backbone=None, freeze="none", image_size=64)
    make_run("mine/version_0")
    rows = "epoch,step,test/retrieval/top_1,test/retrieval/knn_3\n1,2,.5,.75\n"
    logs = make_run("ir_exp1/version_0", metrics=rows, retrieval="closed_train_gallery", freeze="none")
    text = readme_tables(group(read_runs(logs)))["Results"]
    assert text.splitlines()[:6] == [
        "| experiment | network | images | paper | ours | scored on |",
        "| --- | --- | --- | --- | --- | --- |",
        "| ir_exp1 | resnet50, k = 3 | 224 px | 74.93 % | 75.00 % | test images |",
        "| cnn_exp3 | CarClassifier | 64 px | 72.26 %, leaked | 31.00 % | test images |",
        "| cnn_seed_leaky | CarClassifier | 224 px | 72.26 %, leaked | 40.00 % | copies of training images |",
        "| cnn_seed_leaky | CarClassifier | 224 px |  | 41.00 % | test images |",
    ]
    assert "mine" not in text


def test_drawn_cars_stay_out_of_the_readme(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", data_name="drawn cars", top1=0.99)
    marked = readme_tables(group(read_runs(make_run("tl_exp3/version_0", top1=0.5))))
    assert "99.00 %" not in marked["Table 2"]
    assert "50.00 %" in marked["Table 2"]


def test_a_leak_is_compared_with_a_leak_alone(make_run: MakeRun) -> None:
    make_run("cnn_exp3/version_0", top1=0.31)
    _, _, table = tables(make_run("cnn_seed_leaky/version_0", top1=0.41, protocol="seed_leaky", backbone=None))
    assert row(table, "cnn_exp3")["difference"] == ""
    leaked, honest = (dict(zip(table.columns, cells, strict=True)) for cells in table.rows if "leaky" in cells[0])
    assert (leaked["paper"], leaked["ours, top-1"], leaked["difference"]) == ("72.26 %, leaked", "40.00 %", "-32.26")
    assert leaked["loss (paper)"] == "2.5000 (1.1026)"  # the last of validation
    assert leaked["protocol"] == "copies of training images, 224 px"
    assert (honest["paper"], honest["ours, top-1"], honest["difference"]) == ("", "41.00 %", "")
    assert (honest["loss (paper)"], honest["protocol"]) == ("2.2500", "official test images, 224 px")


def test_macro_f1_stands_beside_weighted_f1_where_a_run_has_it(make_run: MakeRun) -> None:
    with_macro = "epoch,step,test/top1,test/f1_weighted,test/f1_macro\n1,2,.5,.4,.3\n"
    make_run("tl_exp1/version_0", metrics=with_macro)
    logs = make_run("cnn_exp1/version_0", top1=0.1, backbone=None)
    transfer, _, cnns = tables(logs)
    place = transfer.columns.index("macro F1")
    assert transfer.columns[place - 1 : place + 2] == ["F1 (paper)", "macro F1", "precision (paper)"]
    assert row(transfer, "tl_exp1")["macro F1"] == "30.00 %"
    assert row(transfer, "tl_exp3")["macro F1"] == ""  # not run
    assert "macro F1" not in cnns.columns
    assert {len(cells) for cells in cnns.rows} == {len(cnns.columns)}


def test_retrieval(make_run: MakeRun) -> None:
    logs = make_run("ir_exp1/version_0", retrieval="closed_train_gallery")
    keys = ["knn_3", "knn_3_f1_weighted", "knn_3_f1_macro", "fit_s", "predict_s", "top_1", "map_at_r", "map"]
    with (logs / "ir_exp1/version_0/metrics.csv").open("w") as file:
        file.write(
            "epoch,step," + ",".join(f"test/retrieval/{key}" for key in keys) + "\n1,2,.75,.7,.6,.01,1.5,.8,.4,.5\n"
        )
    groups = group(read_runs(logs))
    _, table, _ = paper_tables(groups)
    found = row(table, "ir_exp1")
    assert [found[key] for key in ("paper", "ours, accuracy", "difference", "k", "F1 (paper)")] == [
        "74.93 %", "75.00 %", "+0.07", "3", "70.00 % (75.23)",
    ]  # fmt: skip
    assert found["macro F1"] == "60.00 %"
    assert [found[key] for key in ("fit s (paper)", "predict s (paper)")] == ["0.01 (0.0092)", "1.5 (1.2)"]
    assert found["protocol"] == "official, closed_train_gallery, 224 px"
    ranked = row(retrieval_list(groups), "ir_exp1, resnet50 frozen, 224 px")
    assert [ranked[key] for key in ("top-1", "top-5", "MAP@R", "mAP")] == ["80.00 %", "", "40.00 %", "50.00 %"]

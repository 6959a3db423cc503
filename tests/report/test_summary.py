"""The tables of all runs: what stands in a row, and what is never compared."""

from carsfg.report.runs import read_runs
from carsfg.report.summary import Summary, summaries
from tests.report.conftest import MakeRun


def row(table: Summary, experiment: str) -> dict[str, str]:
    (found,) = [cells for cells in table.rows if cells[0] == experiment]
    return dict(zip(table.columns, found, strict=True))


def test_a_row_of_table_2(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", top1=0.40)
    table, _, _ = summaries(read_runs(make_run("tl_exp1/version_1", top1=0.50, seed=1)))
    assert row(table, "tl_exp1") == {
        "experiment": "tl_exp1", "network": "resnet50, frozen", "paper": "42.37 %", "ours, top-1": "45.00 % ± 7.07",
        "difference": "+2.63", "F1": "41.00 % ± 0.00", "loss": "2.2500", "protocol": "official, 224 px",
        "chosen on": "last epoch", "seeds": "0, 1", "hardware": "1 x CPU",
    }  # fmt: skip
    assert row(table, "tl_exp3")["ours, top-1"] == "not run"
    assert "| tl_exp1 | resnet50, frozen | 42.37 % | 45.00 % ± 7.07 | +2.63 |" in table.markdown()


def test_drawn_cars_are_not_compared(make_run: MakeRun) -> None:
    table, _, _ = summaries(read_runs(make_run(data="drawn cars", image_size=64)))
    found = row(table, "tl_exp1")
    assert (found["difference"], found["protocol"]) == ("", "official, drawn cars, 64 px")


def test_a_leak_is_compared_with_a_leak_alone(make_run: MakeRun) -> None:
    make_run("cnn_exp3/version_0", top1=0.31)
    _, _, table = summaries(read_runs(make_run("cnn_seed_leaky/version_0", top1=0.41, protocol="seed_leaky")))
    assert row(table, "cnn_exp3")["difference"] == ""
    leaky = row(table, "cnn_seed_leaky")
    assert leaky["ours, top-1"] == "40.00 % leaked, 41.00 % honest"  # 0.4 is the last val/top1
    assert leaky["difference"] == "-32.26"
    assert leaky["paper"] == "72.26 %, leaked"


def test_a_row_of_table_4(make_run: MakeRun) -> None:
    logs = make_run("ir_exp1/version_0", retrieval="closed_train_gallery")
    keys = ["knn_3", "knn_3_f1_weighted", "fit_s", "predict_s", "top_1", "map_at_r", "map"]
    with (logs / "ir_exp1/version_0/metrics.csv").open("w") as file:
        file.write(
            "epoch,step," + ",".join(f"test/retrieval/{key}" for key in keys) + "\n1,2,.75,.7,.01,1.5,.8,.4,.5\n"
        )
    _, table, _ = summaries(read_runs(logs))
    found = row(table, "ir_exp1")
    assert [found[key] for key in ("paper", "ours, accuracy", "difference", "k")] == [
        "74.93 %",
        "75.00 %",
        "+0.07",
        "3",
    ]
    assert [found[key] for key in ("F1", "fit s", "predict s", "top-1")] == ["70.00 %", "0.0100", "1.5000", "80.00 %"]
    assert found["protocol"] == "official, closed_train_gallery, 224 px"


def test_cells_are_escaped() -> None:
    table = Summary("<t>", ["a"], [["x | <b>"]])
    assert "x \\| <b>" in table.markdown()
    assert "x | &lt;b&gt;" in table.html()

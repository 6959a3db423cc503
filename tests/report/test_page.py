"""The page: it needs nothing but itself, and holds what the runs say."""

import re

from PIL import Image

from carsfg.report.curves import figures
from carsfg.report.page import build_page
from carsfg.report.runs import read_runs
from tests.report.conftest import MakeRun


def test_the_page_needs_nothing_else(make_run: MakeRun) -> None:
    page = build_page(read_runs(make_run()))
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", page)
    assert "url(" not in page
    assert "<h3>tl_exp1/version_0: 63.33 % of 30 images right</h3>" in page
    assert "63.3 %, 19 images" in page
    assert "4 of 10 BMW M3 Sedan 2012<br>taken for BMW X5 SUV 2007" in page


def test_examples_of_what_is_confused(make_run: MakeRun) -> None:
    runs = read_runs(make_run())
    grey = Image.new("RGB", (8, 8))
    page = build_page(runs, {"BMW M3 Sedan 2012": grey, "BMW X5 SUV 2007": grey})
    assert page.count("<img alt='BMW M3 Sedan 2012' src='data:image/jpeg") == 3  # in its two pairs, and in Audi's
    assert page.count("<img alt='BMW X5 SUV 2007'") == 1


def test_names_are_escaped(make_run: MakeRun) -> None:
    confusions = "class,predicted,images\n<script>alert(1)</script> 2012,Audi S4 Sedan 2007,1\n"
    page = build_page(read_runs(make_run(confusions=confusions)))
    assert "<script>" not in page


def test_figures_there_are_runs_for(make_run: MakeRun) -> None:
    make_run("cnn_seed_leaky/version_0", protocol="seed_leaky", confusions="")
    drawn = figures(read_runs(make_run("tl_exp1/version_0")))
    assert list(drawn) == [
        "Figure 1: frozen (tl_exp1/version_0)",
        "Figure 3: validation across transfer learning",
        "Figure 7, as the report has it: validation on copies of training images (cnn_seed_leaky/version_0)",
        "Figure 8: validation across CNNs",
    ]
    accuracy, _ = drawn["Figure 1: frozen (tl_exp1/version_0)"].axes
    train, val = accuracy.lines
    assert train.get_xydata().tolist() == [[1, 10], [2, 50]]  # type: ignore[union-attr]
    assert val.get_label() == "test images"
    leaky = list(drawn.values())[2].axes[0].lines[1]
    assert leaky.get_label() == "copies of training images"

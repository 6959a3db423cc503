"""The page: one file without others, with all that the runs contain."""

import re
from pathlib import Path

from PIL import Image

from carsfg.report.confusion_view import confusion_views
from carsfg.report.groups import group
from carsfg.report.page import build_markdown, build_page
from carsfg.report.runs import read_runs
from tests.report.conftest import CONFUSIONS, MakeRun


def page_of(logs: Path, **examples: Image.Image) -> str:
    return build_page(group(read_runs(logs)), {name.replace("_", " "): image for name, image in examples.items()})


def test_the_page_needs_nothing_else(make_run: MakeRun) -> None:
    page = page_of(make_run(), BMW_M3_Sedan_2012=Image.new("RGB", (8, 8)))
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", page)
    assert not re.findall(r"url\((?!data:)", page)
    assert "@import" not in page


def test_confusions(make_run: MakeRun) -> None:
    page = page_of(make_run())
    assert "<summary>tl_exp1, resnet50 frozen, 224 px: 63.33 % of 30 answers right</summary>" in page
    assert "63.3 %, 19" in page
    assert "<b>4 of 10</b> BMW M3 Sedan 2012<br>predicted as BMW X5 SUV 2007" in page
    assert "<b>3 of 20</b> Audi S4 Sedan 2007<br>confused with Audi S4 Sedan 2012" in page
    assert 'aria-label="right 63.3 %, same model, another year 10.0 %' in page


def test_classes_without_body_types_have_no_severity(make_run: MakeRun) -> None:
    assert "<h3>Severity</h3>" in page_of(make_run("tl_exp1/version_0"))
    logs = make_run("tl_exp1/version_0", confusions="class,predicted,images\nmaple,maple,3\nmaple,oak,1\n")
    page = page_of(logs)
    assert "Severity" not in page
    assert "neither make nor body" not in page
    assert "<b>1 of 4</b> maple<br>predicted as oak" in page


def test_legends_name_what_is_shown(make_run: MakeRun) -> None:
    right = "class,predicted,images\nAudi S4 Sedan 2007,Audi S4 Sedan 2007,3\n"
    page = page_of(make_run("mine/version_0", confusions=right))
    assert "</i>ours, test images</span>" in page
    assert "</i>right</span>" in page
    for absent in ("the paper</span>", "the paper, on copies", "ours, copies of training images", "</i>same make"):
        assert absent not in page


def test_a_run_without_confusions(make_run: MakeRun) -> None:
    assert "No run has confusions" in page_of(make_run(confusions=""))


def test_the_best_is_unfolded(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    page = page_of(make_run("tl_exp3/version_0", confusions="class,predicted,images\nA 2012,A 2012,1\n"))
    assert page.count("<details open>") == 1
    assert re.search(r"<details open>\s*<summary>tl_exp3", page)


def test_all_runs_at_a_glance(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0")
    make_run("cnn_seed_leaky/version_0", protocol="seed_leaky", backbone=None, freeze="none")
    page = page_of(make_run("tl_exp3/version_0", data_name="drawn cars"))
    assert '<i class="ours" style="width:42.50%"></i><i class="paper" style="left:42.37%"></i>' in page
    assert "<b>42.50 %</b> · paper 42.37 %<" in page
    assert "<b>42.50 %</b> · 40.00 % on copies · paper 72.26 % on copies<" in page
    assert page.count("<b>42.50 %</b></span>") == 1  # of drawn cars the paper has nothing to say


def test_examples_of_what_is_confused(make_run: MakeRun) -> None:
    grey = Image.new("RGB", (8, 8))
    page = page_of(make_run(), BMW_M3_Sedan_2012=grey, BMW_X5_SUV_2007=grey, Fiat_500_2012=grey)
    assert page.count('aria-label="BMW M3 Sedan 2012"') == 3  # in its two pairs, and in Audi's
    assert page.count('aria-label="BMW X5 SUV 2007"') == 1
    assert page.count("url(data:image/jpeg") == 2  # each once, and no more than are shown


def test_names_are_escaped(make_run: MakeRun) -> None:
    hostile = "<script>alert('1\")</script>"
    confusions = f'class,predicted,images\n"{hostile.replace(chr(34), chr(34) * 2)} 2012",Audi S4 Sedan 2007,1\n'
    make_run("mine/version_0", confusions=confusions, hardware=hostile, data_name=hostile, weights=hostile)
    logs = make_run("mine/version_1", experiment=hostile, retrieval=hostile, backbone=hostile, lr=hostile)
    page = page_of(logs, **{f"{hostile} 2012": Image.new("RGB", (8, 8))})
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;1&#34;)&lt;/script&gt; 2012" in page
    for attribute in re.findall(r"""(?:aria-label|data-label|alt)=("[^"]*"|'[^']*'|\S*)""", page):
        assert attribute.startswith('"'), "every attribute is quoted"


def test_what_made_each_run(make_run: MakeRun) -> None:
    make_run("tl_exp1/version_0", lr=0.001, precision="bf16-mixed")
    logs = make_run("tl_exp1/version_1", seed=1)
    text = build_markdown(group(read_runs(logs)))
    assert text.index("## All runs") < text.index("## Table 2: transfer learning")
    assert "| tl_exp1/version_0 | resnet50 frozen | 42.50 % | 40.00 % | bf16-mixed | 0 |" in text
    page = page_of(logs)
    assert "<dt>trainer.precision</dt><dd>bf16-mixed</dd>" in page
    assert "<dt>trainer.precision</dt><dd>32-true</dd>" in page


def test_own_experiments_have_no_tables_of_the_paper(make_run: MakeRun) -> None:
    logs = make_run("mine/version_0", data_name="my photos")
    page, text = page_of(logs), build_markdown(group(read_runs(logs)))
    assert "Table 2" not in page + text
    assert "<figcaption>mine, resnet50 frozen, 224 px, my photos</figcaption>" in page
    assert "<summary>mine, resnet50 frozen, 224 px, my photos: 63.33 % of 30 answers right</summary>" in page
    assert '<td role="cell" data-label="run">mine/version_0</td>' in page


def test_own_photos_beside_stanford_cars(make_run: MakeRun) -> None:
    """Class names of one's own are not parsed, though they look like cars; the columns of the table are shown."""
    make_run("tl_exp1/version_0")
    per_class = (
        "class,images,correct,accuracy,colour\nAudi S4 Sedan 2007,10,6,0.6,red\n"
        "Audi S4 Sedan 2012,10,8,0.8,blue\nBMW M3 Sedan 2012,10,5,0.5,blue\n"
    )
    files = {"per_class.csv": per_class}
    groups = group(read_runs(make_run("mine/version_0", data_name="my photos", confusions=CONFUSIONS, files=files)))
    cars, mine = confusion_views(groups)
    assert list(cars.parts) == ["make", "body type", "year"]
    assert mine.parts == {"colour": {"blue": (13 / 20, 20), "red": (0.6, 10)}}
    assert (mine.names_bodies, mine.same_model) == (False, [])
    page = build_page(groups)
    assert "<h3>my photos: not comparable with other images</h3>" in page
    overview, mine_bars = page.split("<h3>my photos")[0], page.split("<h3>my photos")[1].split("</section>")[0]
    assert "mine, resnet50" not in overview.split("<h3>Stanford Cars</h3>")[1]
    assert "tl_exp1" not in mine_bars
    assert "paper" not in mine_bars


def test_links_to_predictions(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("tl_exp1/version_0")
    logs = make_run("my run/version_0", data_name="my photos", files={"predictions.csv": "path,label\n"})
    page = build_page(group(read_runs(logs)), folder=tmp_path / "report")
    assert re.findall('<a href="([^#][^"]*)">([^<]*)', page) == [
        ("../logs/my%20run/version_0/predictions.csv", "my run/version_0")
    ]
    assert "Predictions for each test image (1 run)" in page


def test_a_run_without_a_test_is_in_the_table_of_all_runs(make_run: MakeRun) -> None:
    rows = "epoch,step,val/top1,val/loss\n0,1,0.8,1\n1,2,0.9,1\n"
    logs = make_run("tl_exp1/version_0", metrics=rows, confusions="", scored_images=0)
    text = build_markdown(group(read_runs(logs)))
    assert "| tl_exp1/version_0 | resnet50 frozen | 90.00 % | 0 |" in text
    assert "Table 2" not in text
    assert page_of(logs)

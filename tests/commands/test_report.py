"""`carsfg report`: files, markers, and a README that is never stale."""

from pathlib import Path

import pytest

from carsfg.cli import main
from carsfg.commands.report import refresh
from carsfg.errors import InputError
from carsfg.report.groups import group
from carsfg.report.paper_tables import readme_tables
from carsfg.report.runs import read_runs
from tests.data.test_photo_datamodule import noise
from tests.report.conftest import CURVES, record_of

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "lightning_logs/reference"
MARKED = "before\n<!-- carsfg report: Table 2 -->\nold\n<!-- end -->\nafter\n"


def test_the_reference_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(MARKED)
    words = [str(REFERENCE), "--output", str(tmp_path / "report"), "--update_readme", str(readme)]
    assert main(["report", *words]) == 0
    count = len(read_runs(REFERENCE))
    assert f"{count} runs" in capsys.readouterr().out
    assert "| cnn_best | custom CNN |  | 86.73 % |" in (tmp_path / "report/report.md").read_text()
    assert f"<p>{count} runs, beside the numbers of the paper" in (tmp_path / "report/index.html").read_text()
    assert readme.read_text().startswith("before\n<!-- carsfg report: Table 2 -->\n| experiment |")
    assert "old" not in readme.read_text()


def test_the_tables_of_the_results_are_not_stale() -> None:
    text = (ROOT / "docs/results.md").read_text()
    assert refresh(text, readme_tables(group(read_runs(REFERENCE)))) == text, (
        "run: carsfg report lightning_logs/reference --update_readme docs/results.md"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("no markers", "there are no markers"), ("<!-- carsfg report: Table 2 -->\nno end", "has no <!-- end -->")],
)
def test_markers_that_are_missing(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        refresh(text, {"Table 2": "new"})


def test_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "no run below" in capsys.readouterr().err


def test_pictures_of_own_photos(tmp_path: Path) -> None:
    confusions = "class,predicted,images\nGolf,Astra,1\n"
    folder = tmp_path / "logs/mine/version_0"
    record_of("mine", data_name="photos").write(folder)
    (folder / "metrics.csv").write_text(CURVES.format(top1=0.5))
    (folder / "confusions.csv").write_text(confusions)
    for name in ("Golf", "Astra"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(noise(len(name)))
    words = ["report", str(tmp_path / "logs"), "--output", str(tmp_path / "report")]
    assert main([*words, "--data.root", str(tmp_path / "photos")]) == 0
    assert (tmp_path / "report/index.html").read_text().count("url(data:image/jpeg") == 2
    (tmp_path / "photos/Golf/0.png").write_bytes(b"no image")  # the next one is shown
    assert main([*words, "--data.root", str(tmp_path / "photos")]) == 0
    assert (tmp_path / "report/index.html").read_text().count("url(data:image/jpeg") == 2
    (tmp_path / "photos.csv").write_text("file,label\nphotos/Golf/1.png,Golf\n")
    table = [f"--data.root={tmp_path / 'photos.csv'}", "--data.columns={path: file}"]
    assert main([*words, *table]) == 0
    assert (tmp_path / "report/index.html").read_text().count("url(data:image/jpeg") == 1

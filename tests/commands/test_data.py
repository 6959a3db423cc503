import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from carsfg.cli import main as carsfg_main
from tests.data.conftest import Photo, encode, gradient, write_cars
from tests.data.test_photo_datamodule import noise

GREY = encode(np.full((8, 10), 77, np.uint8), "JPEG")


def main(args: list[str]) -> int:
    return carsfg_main(["data", *args])


def test_check_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cars(tmp_path, [Photo(), Photo(2), Photo(data=GREY)], [Photo(2)])
    assert main(["check", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "3 class names\n1 single-channel images\n3 pairs of duplicates (byte-identical files)\n" in out
    assert "  2 of them with conflicting labels\n  2 of them across train and test\n" in out
    rows = {line.split("│")[1].strip(): line.split("│")[2:4] for line in out.splitlines() if "│" in line}
    assert [cell.strip() for cell in rows["images"]] == ["3", "1"]
    assert [cell.strip() for cell in rows["most per class"]] == ["2", "1"]


def test_check_lists_unreadable_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cars(tmp_path, [Photo(), Photo(data=encode(gradient())[:50]), Photo(data=b"x")])
    assert main(["check", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "cars_train/00002.jpg cannot be decoded" in lines[0]
    assert "cars_train/00003.jpg is not an image" in lines[1]


def test_crops_want_no_crop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cars(tmp_path, [Photo(box=(1, 1, 400, 300))])
    assert main(["check", str(tmp_path)]) == 2
    assert "leaves the image of 10 x 8 pixels" in capsys.readouterr().err
    assert main(["check", str(tmp_path), "--data.crop=false"]) == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["check"], ["the folder data does not exist: ", "carsfg data fetch", "--config demo.yaml"]),
        (["check", "nowhere"], ["the folder nowhere does not exist: "]),
        ([], ["a verb is missing", "carsfg data --help"]),
        (["chek"], ["unknown verb 'chek' (did you mean 'check'?)"]),
        (["check", "a", "b"], ["unknown argument 'b'"]),
        (["check", "a", "--data.crop=perhaps"], ["data.crop 'perhaps' is not true or false"]),
        (["check", "a", "--sheet", "sheet"], ["unknown kind of picture 'sheet'", ".png"]),
        (["check", "a", "--sheet", "no/such/s.png"], ["cannot write 'no/such/s.png': the folder does not exist"]),
        (["draw", "x", "--classes", "many"], ["classes 'many' is not an integer", "carsfg data draw --help"]),
        (["draw", "x" * 300], ["cannot use 'xxx", "File name too long"]),
    ],
)
def test_mistakes_are_one_line(
    args: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert [word for word in words if word not in err] == []


def test_draw_makes_what_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--classes", "4", "--train", "6", "--test", "3", "--seed", "1"]
    assert main(["draw", str(tmp_path / "drawn"), *sizes]) == 0
    assert main(["check", str(tmp_path / "drawn")]) == 0
    assert "4 class names" in capsys.readouterr().out


def test_help_imports_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    assert "--sheet" in capsys.readouterr().out
    code = "import sys; from carsfg.cli import main; main(['data', 'chek']); print({'torch', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_photos_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, name, seed in (
        ("train", "Golf", 1), ("train", "Golf", 2), ("train", "Astra", 3), ("test", "Golf", 1), ("test", "Astra", 2),
    ):  # fmt: skip
        path = tmp_path / "photos" / part / name / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(seed))
    (tmp_path / "photos/notes.txt").write_text("x")
    assert main(["check", str(tmp_path / "photos"), "--sheet", str(tmp_path / "s.png")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "largest class │ 3 (Golf)",
        "images │ 5 ", "classes │ 2 ", "train │ 3 ", "test │ 2 ", "smallest class │ 2 (Astra)",
        "34 x 32 to 34 x 32 pixels", "duplicates (byte-identical files) │ 2 ", "near duplicates │ 0 ",
        "conflicting labels │ 1 ", "in two splits │ 2 ", "2-3 ############################## 2", "left out: 1 .txt",
        "byte-identical, conflicting labels, in two splits: train/Golf/2.png and test/Astra/2.png",
        "byte-identical, in two splits: train/Golf/1.png and test/Golf/1.png",
        "`carsfg fit` needs two classes of 4 or more images",
    ):  # fmt: skip
        assert words in out, words
    assert (tmp_path / "s.png").stat().st_size > 1000
    (tmp_path / "photos/train/Golf/2.png").write_bytes(b"x")
    assert main(["check", str(tmp_path / "photos")]) == 2
    assert "train/Golf/2.png is not an image" in capsys.readouterr().err


def test_a_table_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(noise(1))
    (tmp_path / "cars.csv").write_text("file,model,x,y,width,height\n1.png,Golf,1,2,3,4\n1.png,Astra,0,0,40,4\n")
    words = ["check", str(tmp_path / "cars.csv"), f"--data.images={tmp_path / 'in'}"]
    columns = ["--data.columns={path: file, label: model}"]
    assert main([*words, *columns]) == 2
    assert "its box (0, 0, 40, 4) leaves the image of 34 x 32 pixels" in capsys.readouterr().err
    assert main([*words, *columns, "--data.crop=false"]) == 0
    assert main(words) == 2
    assert "has no column 'path', but 'file', 'model'" in capsys.readouterr().err
    assert main([*words, "--data.columns={lable: model}"]) == 2
    assert "data.columns has no key " in capsys.readouterr().err

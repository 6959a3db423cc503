"""Tables of boxes: both forms, paths, and one line for each mistake."""

from pathlib import Path

import pytest

from carsfg.data.box_table import BoxTable
from carsfg.errors import InputError


def table(folder: Path, text: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "path,x0,y0,x1,y1\na.jpg,10,20,40,60\nsub/b.jpg,0,0,1,2\n",
        "path,x,y,width,height\na.jpg,10,20,30,40\nsub/b.jpg,0,0,1,2\n",
        '\ufeffcolour, y1, x1, y0, x0, path\n"red, dark",60,40,20,10,a.jpg\nblue,2,1,0,0,sub/b.jpg\n',
    ],
)
def test_both_forms(text: str, tmp_path: Path) -> None:
    found = BoxTable.read(table(tmp_path, text))
    assert found.find(tmp_path / "a.jpg") == (10, 20, 40, 60)
    assert found.find(tmp_path / "sub/../sub/b.jpg") == (0, 0, 1, 2)
    assert found.find(tmp_path / "c.jpg") is None
    assert found.name(tmp_path / "sub/b.jpg") == f"{tmp_path / 'sub/b.jpg'} ({tmp_path / 'boxes.csv'}, row 3)"


def test_paths_begin_at_the_folder_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, f"path,x0,y0,x1,y1\na.jpg,1,2,3,4\n{tmp_path}/other/b.jpg,5,6,7,8\n")
    found = BoxTable.read(path, tmp_path / "photos")
    assert found.find(tmp_path / "photos/a.jpg") == (1, 2, 3, 4)
    assert found.find(tmp_path / "a.jpg") is None
    monkeypatch.chdir(tmp_path / "..")
    assert found.find(f"{tmp_path.name}/other/b.jpg") == (5, 6, 7, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,x0,y0,x1\na.jpg,1,2,3\n", "has no column 'y1': it needs path and x0,y0,x1,y1, or path and x,y,width"),
        ("path,x,y,width\na.jpg,1,2,3\n", "has no column 'height'"),
        ("name,x0,y0,x1,y1\na.jpg,1,2,3,4\n", "has no column 'path'"),
        ("", "has no column 'path', 'x0', 'y0', 'x1', 'y1'"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,3,4\n,1,2,3,4\n", "row 3: the path is empty"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,3.5,4\n", "row 2: the box '1,2,3.5,4' must be four whole numbers, x0,y0,x1,y1"),
        ("path,x0,y0,x1,y1\na.jpg,1,2\n", "row 2: the box '1,2,,' must be four whole numbers"),
        ("path,x0,y0,x1,y1\na.jpg,5,2,5,4\n", "row 2: the box 5,2,5,4 is empty or begins outside the photo"),
        ("path,x,y,width,height\na.jpg,-1,2,5,4\n", "row 2: the box -1,2,4,6 is empty or begins outside the photo"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,3,4\n./a.jpg,1,2,3,4\n", "row 3: a second box for './a.jpg', after row 2"),
    ],
)
def test_mistakes(text: str, said: str, tmp_path: Path) -> None:
    path = table(tmp_path, text)
    with pytest.raises(InputError) as error:
        BoxTable.read(path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no table of boxes .*nowhere.csv$"):
        BoxTable.read(tmp_path / "nowhere.csv")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xd8\xff\xe0" * 9)
    with pytest.raises(InputError, match=r"^cannot read the table of boxes .*photo.csv: "):
        BoxTable.read(tmp_path / "photo.csv")
    with pytest.raises(InputError, match=r"^cannot read the table of boxes "):
        BoxTable.read(tmp_path)

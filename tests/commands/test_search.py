"""`carsfg search`: every photo that people have is answered, and what is none ends in one line."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carsfg.cli import main
from carsfg.commands.photo_list import read_paths
from carsfg.data.photo import Photo, read_photo
from carsfg.search.gallery import Gallery
from tests.commands.conftest import ANSWERS, Search, checkpoint


def test_images_of_the_gallery_find_themselves(search: Search, cars: Path) -> None:
    found = search(cars)
    assert [one["photo"] for one in found] == [str(path) for path in sorted(cars.rglob("*.png"))]
    assert len(found) == 24
    for place, one in enumerate(found):
        first = one["matches"][0]
        assert (first["rank"], first["place"]) == (1, place)
        assert str(cars / first["path"]) == one["photo"]
        assert first["similarity"] == pytest.approx(1, abs=1e-5)
        assert one["matches"][1]["similarity"] < 1
        assert one["is_known"]


def test_a_line_of_json_holds_everything(search: Search, car: Path) -> None:
    (one,) = search(car, "-k", "3")
    assert set(one) == ANSWERS
    assert [set(match) for match in one["matches"]] == 3 * [
        {"rank", "name", "attributes", "similarity", "path", "place"}
    ]
    first = one["matches"][0]
    assert first["name"] == car.parent.name
    assert first["attributes"] == {"make": "Dunmore", "body": "Van", "year": "2012"}
    assert [match["rank"] for match in one["matches"]] == [1, 2, 3]
    assert sum(share["share"] for share in one["vote"]) == pytest.approx(1)
    assert sum(share["share"] for share in one["classes"]) == pytest.approx(1)  # of four classes all are named
    assert set(one["seconds"]) == {"decode", "embed", "search"}
    assert 0 < one["known"] <= 1


def test_a_mirrored_query_is_named(
    search: Search, gallery: Path, car: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plain,), (mirrored,) = search(car), search(car, "--mirror")
    assert (plain["mirror"], mirrored["mirror"]) == (False, True)
    assert mirrored["matches"][0]["similarity"] < plain["matches"][0]["similarity"]
    assert mirrored["known"] == plain["known"]
    for words in ([], ["--mirror"]):
        assert main(["search", str(gallery), str(car), "--device=cpu", *words]) == 0
        assert ("mean of the photo and its mirror image" in capsys.readouterr().out) is bool(words)


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_paths_from_standard_input(
    search: Search, cars: Path, car: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spaced = shutil.copy(car, tmp_path / " a car .png")
    give(monkeypatch, f"{car}\n\n{spaced}\n".encode())
    assert [one["photo"] for one in search("-")] == [str(car), str(spaced)]
    give(monkeypatch, f"{car}\nnowhere.jpg\n{cars}\n{car}".encode())
    assert [one["photo"] for one in search("-", code=2)] == [str(car), str(car)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a.jpg\r\nb c.jpg\r\n", ["a.jpg", "b c.jpg"]),
        (b"\xef\xbb\xbfa.jpg\n", ["a.jpg"]),
        (b"a.jpg\0b\nc.jpg\0", ["a.jpg", "b\nc.jpg"]),
        (b" a.jpg\n\n\n\r\nb.jpg", [" a.jpg", "b.jpg"]),
        (b"caf\xe9.jpg\n", ["caf\udce9.jpg"]),
        (b"", []),
        (b"x" * 70_000 + b"\nb.jpg\n", ["x" * 70_000, "b.jpg"]),
    ],
)
def test_lists_of_paths(data: bytes, expected: list[str]) -> None:
    """As Windows, `find -print0` and old file systems write them; longer than what is read at once, too."""
    assert list(read_paths(io.BytesIO(data))) == expected


def test_paths_are_answered_as_they_arrive() -> None:
    """A program may write a path, and wait for its answer."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as other:
        paths = read_paths(stream)
        for name in ("a.jpg", "b.jpg"):
            other.write(f"{name}\n".encode())
            assert next(paths) == name


def test_a_photo_that_vanishes_does_not_end_the_others(
    search: Search, car: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each photo is read once, so that it may vanish right after."""
    gone = tmp_path / "gone.png"
    shutil.copy(car, gone)

    def read(source: str | Path | bytes, *args: Any) -> Photo:
        photo = read_photo(source, *args)
        if str(source) == str(gone):
            gone.unlink()
        return photo

    monkeypatch.setattr("carsfg.search.engine.read_photo", read)
    found = search(gone, car, f"--output={tmp_path / 'x.png'}")
    assert [one["photo"] for one in found] == [str(gone), str(car)]
    assert (tmp_path / "x.png").is_file()


def test_numbers_have_six_digits(search: Search, car: Path) -> None:
    (one,) = search(car)
    scores = [match["similarity"] for match in one["matches"]]
    assert all(round(score, 6) == score <= 1 for score in scores)
    assert all(round(share["share"], 6) == share["share"] for share in one["classes"])


def test_folders_and_files_together(search: Search, cars: Path, car: Path) -> None:
    folder = cars / "Aurora 5 Coupe 2002"
    assert [one["photo"] for one in search(car, folder)] == [str(car), *map(str, sorted(folder.iterdir()))]


def test_a_box_is_cut(search: Search, car: Path, tmp_path: Path) -> None:
    image, scene = Image.open(car), Image.effect_noise((640, 480), 90).convert("RGB")
    x1, y1 = 50 + image.width, 30 + image.height
    scene.paste(image, (50, 30))
    scene.save(tmp_path / "scene.png")
    (one,) = search(tmp_path / "scene.png", f"--box=50,30,{x1},{y1}", f"--output={tmp_path / 'cut.png'}")
    assert one["matches"][0]["path"].endswith(car.name)
    assert one["matches"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    (whole,) = search(tmp_path / "scene.png")
    assert whole["matches"][0]["similarity"] < 0.9999


def test_cars_of_some_kind(search: Search, car: Path, capsys: pytest.CaptureFixture[str], gallery: Path) -> None:
    for make in ("Aurora", "aurora", "AURORA"):
        (one,) = search(car, "--where", f"make={make}", "--where=year=2002", "-k", "50")
        assert {tuple(match["attributes"].values()) for match in one["matches"]} == {("Aurora", "Coupe", "2002")}
    (whole,) = search(car)
    assert one["known"] == whole["known"]  # that is about all of the gallery
    mistakes = {
        "make=Trabant": "the gallery holds no image with make Trabant; its values of make are Aurora, ",
        "maker=Aurora": "the gallery has no attribute 'maker' (did you mean 'make'?); it has make, body, year",
        "Aurora": "--where 'Aurora' must be NAME=VALUE, such as make=BMW",
        "make=": "--where 'make=' must be NAME=VALUE, such as make=BMW",
    }
    for word, said in mistakes.items():
        assert main(["search", str(gallery), str(car), "--where", word]) == 2
        assert said in capsys.readouterr().err
    assert main(["search", str(gallery), str(car), "--where=make=Aurora", "--where=make=Kestrel"]) == 2
    assert "--where names 'make' twice: keep one" in capsys.readouterr().err


def test_lines_for_a_person(gallery: Path, car: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(gallery), str(car), "-k", "2", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    flat = " ".join(out.split())
    assert "1 1.000 Dunmore C-V Cargo Van 2012 Dunmore / Van / 2012" in flat
    assert "vote of 2 " in flat
    assert "known car? likely: " in flat
    assert "time decode " in flat


@pytest.mark.parametrize("suffix", ["png", "PDF", "svg"])
def test_a_picture_of_what_was_found(
    suffix: str, gallery: Path, car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"found.{suffix}"
    words = [str(car), "nowhere.jpg", str(car), "-k", "4", f"--output={picture}", "--device=cpu"]
    assert main(["search", str(gallery), *words]) == 2
    assert f"drawn: {picture}" in capsys.readouterr().err
    assert picture.read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")
    if suffix == "png":
        with Image.open(picture) as image:
            assert image.size == (120 + 190 + 4 * 168, 76 + 2 * 220)  # two photos of four neighbours


def test_a_picture_of_a_photo_with_dollars_in_its_name(search: Search, car: Path, tmp_path: Path) -> None:
    photo = shutil.copy(car, tmp_path / "$_$.png")
    assert len(search(photo, f"--output={tmp_path / 'x.png'}")) == 1
    assert (tmp_path / "x.png").is_file()


def test_pictures_that_are_damaged(
    gallery: Path, car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many bytes as before, but none of a JPEG: not the fault of the file that is written."""
    damaged = shutil.copytree(gallery, tmp_path / "cars")
    whole = (gallery / "thumbnails.npy").read_bytes()
    (damaged / "thumbnails.npy").write_bytes(whole[:128] + bytes(len(whole) - 128))
    assert main(["search", str(damaged), str(car), f"--output={tmp_path / 'x.png'}", "--device=cpu"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cannot write" not in err
    assert str(damaged) in err or "thumbnails.npy" in err


def test_on_disk(search: Search, car: Path) -> None:
    assert search(car, "--mmap")[0]["matches"] == search(car)[0]["matches"]


def test_its_own_checkpoint_and_another(
    gallery: Path, car: Path, tmp_path: Path, search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = checkpoint(tmp_path / "own.ckpt"), checkpoint(tmp_path / "other.ckpt", seed=1)
    assert search(car, f"--checkpoint={own}")[0]["matches"] == search(car)[0]["matches"]
    assert main(["search", str(gallery), str(car), f"--checkpoint={other}", "--device=cpu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "the gallery was made by another network" in err
    assert "search with the checkpoint it was made with, or index again" in err


def test_a_gallery_without_network_or_pictures(
    gallery: Path, car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = Gallery.load(gallery)
    bare.thumbnails = None
    bare.save(tmp_path / "bare")
    assert main(["search", str(tmp_path / "bare"), str(car), "--device=cpu"]) == 2
    assert f"the gallery {tmp_path / 'bare'} holds no network: name its checkpoint\n" in capsys.readouterr().err
    named = [str(tmp_path / "bare"), str(car), f"--checkpoint={gallery.parent / 'cnn.ckpt'}", "--device=cpu"]
    assert main(["search", *named]) == 0
    capsys.readouterr()
    assert main(["search", *named, f"--output={tmp_path / 'x.png'}"]) == 2
    assert "bare has no pictures to draw: make it with `carsfg index`\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "CAR"], "no gallery in nowhere: `carsfg index` and `carsfg predict` write them"),
        (["GALLERY"], "the following arguments are required: photos; see `carsfg search --help`"),
        (["GALLERY", "CAR", "-k", "0"], "-k 0 must be 1 or more"),
        (["GALLERY", "CAR", "-k", "many"], "k 'many' is not an integer"),
        (["GALLERY", "CAR", "--box=1,2,3"], "--box '1,2,3' must be four whole numbers, X0,Y0,X1,Y1"),
        (["GALLERY", "CAR", "--box=0,0,9999,10"], "the box 0,0,9999,10 leaves "),
        (["GALLERY", "CAR", "--box=5,5,5,9"], "the box 5,5,5,9 leaves "),
        (["GALLERY", "CAR", "CAR", "--box=0,0,5,5"], "--box belongs to one photo: name one"),
        (["GALLERY", "-", "--box=0,0,5,5"], "--box belongs to one photo: name one"),
        (["GALLERY", "empty", "--box=0,0,5,5"], "--box belongs to one photo: name one"),
        (["GALLERY", "empty"], "no image in empty"),
        (["GALLERY", "CAR", "--output=found.doc"], "unknown kind of picture 'found.doc': use a name that ends in .png"),
        (["GALLERY", "CAR", "--output=nowhere/x.png"], "cannot write 'nowhere/x.png': the folder does not exist"),
        (["GALLERY", "CAR", "--checkpoint=nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (["GALLERY", "CAR", "--device=toaster"], "device 'toaster' is not available on this machine"),
        (["GALLERY", "a" * 300, "--box=0,0,5,5"], "cannot read aaa"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    said: str,
    gallery: Path,
    car: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    given = {"GALLERY": str(gallery), "CAR": str(car)}
    assert main(["search", *[given.get(word, word) for word in words]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_picture_where_a_folder_is(
    gallery: Path, car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").mkdir()
    assert main(["search", str(gallery), str(car), f"--output={tmp_path / 'x.png'}", "--device=cpu"]) == 2
    assert f"cannot write '{tmp_path / 'x.png'}': it is a folder" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from carsfg.cli import main; main(['search', '--help']); print({'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "X0,Y0,X1,Y1 of the car" in done.stdout
    assert done.stdout.endswith("set()\n")

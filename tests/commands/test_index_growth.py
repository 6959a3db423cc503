"""`carsfg index GALLERY --add`, `--remove`, `--merge`, `--root`: galleries that change, and that survive a kill."""

import os
import shlex
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.cli import main
from carsfg.commands import index_growth
from carsfg.run_record import RunRecord
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.search.growth import vectors_of
from carsfg.tasks.checkpoints import save_network
from carsfg.tasks.cnn import CarCNN

Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of a small CNN with random weights, which learned from whole photos."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "cnn.ckpt"
    record = RunRecord(data={"crop": True, "learned_from": "whole photos", "image_size": 32})
    save_network(CarCNN(class_names=["a", "b"], widths=[4, 8], image_size=32), path, record)
    return str(path)


def photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path, network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A working folder with a gallery `cars` of `photos`: four Astras and four Corsas."""
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        photo(tmp_path / f"photos/{('Astra', 'Corsa')[seed % 2]}/{seed}.png", seed)
    assert main(["index", network, "photos", "--output=cars", "--device=cpu"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `carsfg index`; gives the lines on stdout, then those on stderr."""

    def index(*words: str, code: int = 0) -> list[str]:
        assert main(["index", *words, "--device=cpu"]) == code
        out, err = capsys.readouterr()
        return [*out.splitlines(), *err.splitlines()]

    return index


def test_a_new_class_of_five_photos_is_named_at_once(folder: Path, run: Run, network: str) -> None:
    old = Gallery.load("cars")
    for seed in range(100, 105):
        photo(folder / f"new/Golf/{seed}.png", seed)
    shutil.copy("photos/Astra/0.png", "new/Golf/copy.png")
    (folder / "new/Golf/broken.png").write_text("no image")
    lines = run("cars", "--add", "new")
    assert lines[0] == "5 images added, 1 was already there (1 under another class); new class: 'Golf'"
    assert lines[1].startswith("cars: 13 images of 3 classes; Flat; ")
    assert lines[2] == "search with: carsfg search cars PHOTO"
    assert lines[4].startswith("left out: new/Golf/broken.png is not an image")
    made = Gallery.load("cars", verify=True)
    assert made.class_names == ["Astra", "Corsa", "Golf"]
    assert torch.equal(made.labels[:8], old.labels)
    assert torch.equal(vectors_of(made)[:8], vectors_of(old))
    assert list(made.paths)[8:] == [f"Golf/{seed}.png" for seed in range(100, 105)]
    assert made.photo(8) == folder / "new/Golf/100.png"
    assert made.photo(0) == folder / "photos/Astra/0.png"
    assert made.thumbnails is not None
    assert made.thumbnails[12].size == (40, 30)
    assert made.record == old.record
    answer = VisualSearch.open("cars").search("new/Golf/102.png", k=1)
    assert (answer.matches[0].name, answer.matches[0].place) == ("Golf", 10)
    (folder / "new/Golf/broken.png").unlink()
    shutil.copytree("new/Golf", "photos/Golf")
    (folder / "photos/Golf/copy.png").unlink()
    run(network, "photos", "--output=whole")
    whole = Gallery.load("whole")
    order = [list(whole.paths).index(path) for path in made.paths]
    torch.testing.assert_close(vectors_of(whole)[order], vectors_of(made))
    assert made.calibration == pytest.approx(whole.calibration, abs=2e-6)


def test_nothing_is_embedded_twice(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in (folder / "cars").iterdir()}
    monkeypatch.setattr("carsfg.search.build.embed_photos", lambda *_: pytest.fail("embedded again"))
    assert run("cars", "--add=photos") == ["nothing to add: 8 were already there"]
    assert {path.name: path.read_bytes() for path in (folder / "cars").iterdir()} == files


def test_boxes_and_attributes_of_a_table(folder: Path, run: Run) -> None:
    """Images are cut to the boxes of the table as those of the gallery; two cars in one file are two images."""
    photo(folder / "more/two.png", 50)
    rows = ["path,label,colour,x0,y0,x1,y1", "two.png,Astra,red,0,0,20,10", "two.png,Golf,,5,5,25,30"]
    (folder / "more/cars.csv").write_text("\n".join(rows))
    lines = run("cars", "--add", "more/cars.csv")
    assert lines[0] == "2 images added; new class: 'Golf'"
    made = Gallery.load("cars")
    assert made.thumbnails is not None
    assert [made.thumbnails[place].size for place in (8, 9)] == [(20, 10), (20, 25)]
    assert [made.attributes.at(place) for place in (0, 8, 9)] == [{}, {"colour": "red"}, {}]
    (folder / "more/cars.csv").write_text("\n".join([*rows, "two.png,Golf,blue,5,5,25,29"]))
    assert run("cars", "--add", "more/cars.csv")[0] == "1 image added, 2 were already there"


@pytest.mark.usefixtures("folder")
def test_removing(run: Run) -> None:
    old = vectors_of(Gallery.load("cars"))
    assert run("cars", "--remove", "Astra/[02].png")[0] == "2 images removed"
    assert run("cars", "--remove=Corsa")[0] == "4 images removed; no image is left of 'Corsa', whose labels stay"
    made = Gallery.load("cars", verify=True)
    assert list(made.paths) == ["Astra/4.png", "Astra/6.png"]
    assert torch.equal(vectors_of(made), old[[4, 6]])
    assert VisualSearch.open("cars").search("photos/Astra/6.png", k=1).matches[0].place == 1
    assert len(made.calibration) == 2
    run("cars", "--add=photos")
    assert Gallery.load("cars").class_names == ["Astra", "Corsa"]
    assert "no image of 8 would be left" in run("cars", "--remove=*", code=2)[-1]


def test_merging(folder: Path, run: Run, network: str) -> None:
    photo(folder / "new/Golf/1.png", 60)
    shutil.copy("photos/Astra/0.png", "new/Golf/0.png")
    run(network, "new", "--output=other", "--data.margin=0.5")
    lines = run("cars", "--merge=other")
    assert lines[0] == "1 image added, 1 was already there; new class: 'Golf'"
    assert "the images of other were prepared with margin 0.5 instead of 0.0" in lines
    assert run("cars", "--merge=other") == ["nothing to add: all 2 images of other are already there"]
    torch.manual_seed(1)
    save_network(CarCNN(class_names=["a", "b"], widths=[4, 8], image_size=32), "second.ckpt", RunRecord())
    run("second.ckpt", "new", "--output=second")
    (line,) = run("cars", "--merge=second", code=2)
    assert "the galleries were made by different networks (fingerprints " in line


def test_other_photos_calibrate(folder: Path, run: Run, network: str) -> None:
    for seed in range(70, 74):
        photo(folder / f"others/Astra/{seed}.png", seed)
    shutil.copy("photos/Astra/0.png", "others/Astra/0.png")
    run(network, "photos", "--output=cars", "--overwrite", "--calibrate=others")
    scores = Gallery.load("cars").calibration
    assert len(scores) == 4
    photo(folder / "new/Golf/1.png", 60)
    lines = run("cars", "--add=new")
    assert "p-values: by other photos, measured before this change; --calibrate FOLDER measures them again" in lines
    assert Gallery.load("cars").calibration == scores
    run("cars", "--remove=Corsa", "--calibrate=others")
    made = Gallery.load("cars")
    assert len(made.calibration) == 4
    assert made.calibration != scores
    run("cars", "--remove=Golf")
    assert Gallery.load("cars").calibration == made.calibration


def test_an_exact_index_that_has_become_large(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carsfg.search.build.MAX_EXACT_IMAGES", 8)
    shutil.copytree("cars", "exact")
    photo(folder / "new/Golf/1.png", 60)
    assert "the index is now IVF8,Flat: exact search is for up to 8; --factory Flat keeps it" in run(
        "cars", "--add=new"
    )
    assert Gallery.load("cars").factory == "IVF8,Flat"
    run("exact", "--add=new", "--factory=Flat")
    photo(folder / "new/Golf/2.png", 61)
    run("exact", "--add=new")
    assert Gallery.load("exact").factory == "Flat"


def test_photos_that_have_moved(folder: Path, run: Run) -> None:
    (folder / "photos").rename("my photos")
    assert run("cars", "--root=my photos")[0] == "8 of 8 photos are there"
    assert Gallery.load("cars").photo(7) == folder / "my photos/Corsa/7.png"
    assert "the folder 'nowhere' does not exist" in run("cars", "--root=nowhere", code=2)[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cars", "--add=photos", "--remove=Astra"], "--add and --remove are two changes: make one after the other"),
        (["cars", "--remove=Golff"], "the gallery has no image of the class or with the path 'Golff'"),
        (["cars", "--add=nowhere"], "the folder or table nowhere does not exist"),
        (["nowhere", "--add=photos"], "no gallery in nowhere"),
        (["cars", "--merge=nowhere"], "no gallery in nowhere"),
        (["cars", "--add=photos", "--metric=cosine"], "unknown option '--metric'"),
        (["cars", "--add=photos", "--batch_size=0"], "--batch_size 0 must be 1 or more"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_mistakes_are_one_line(words: list[str], said: str, run: Run) -> None:
    (line,) = run(*words, code=2)
    assert said in line


@pytest.mark.usefixtures("folder")
def test_an_existing_gallery_says_whose_it_is(run: Run, network: str) -> None:
    shutil.move("cars", "my cars")
    (line,) = run(network, "photos", "--output=my cars", code=2)
    assert "my cars is a gallery of the same network already: " in line
    assert shlex.split(line.partition("`")[2].partition("`")[0]) == ["carsfg", "index", "my cars", "--add", "FOLDER"]
    assert "add --overwrite to replace it" in line
    torch.manual_seed(1)
    save_network(CarCNN(class_names=["a", "b"], widths=[4, 8], image_size=32), "second.ckpt", RunRecord())
    (line,) = run("second.ckpt", "photos", "--output=my cars", code=2)
    assert "is a gallery of another network already: add --overwrite to replace it, or name another folder" in line


def test_a_gallery_of_an_earlier_format_is_made_again_by_the_command(folder: Path, run: Run) -> None:
    manifest = folder / "cars/gallery.json"
    manifest.write_text(manifest.read_text().replace('"format": 4', '"format": 3'))
    (line,) = run("cars", "--add=photos", code=2)
    words = shlex.split(line.partition("`")[2].partition("`")[0])
    assert words[:4] == ["carsfg", "index", "cars/network.ckpt", "FOLDER"]
    run(*["photos" if word == "FOLDER" else word for word in words[2:]])
    assert len(Gallery.load("cars", verify=True)) == 8


def test_another_process_has_changed_it(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(folder / "new/Golf/1.png", 60)
    made = index_growth._made

    def slow(*args: Any) -> Gallery | None:
        monkeypatch.setattr(index_growth, "_made", made)  # for the other process
        main(["index", "cars", "--remove=Astra"])
        return made(*args)

    monkeypatch.setattr(index_growth, "_made", slow)
    (*_, line) = run("cars", "--add=new", code=2)
    assert "another process has changed cars meanwhile, and nothing was written: run this again" in line
    assert len(Gallery.load("cars")) == 4


def killed_add(seconds: float) -> None:
    """Add photos in a child, which is killed after some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which the child does not use
        child = os.fork()
    if not child:
        torch.set_num_threads(1)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os._exit(main(["index", "cars", "--add", "new", "--device=cpu"]))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by os.fork")
@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_is_the_old_one_or_the_new_one(kills: int, folder: Path, run: Run) -> None:
    for seed in range(100, 105):
        photo(folder / f"new/Golf/{seed}.png", seed)
    shutil.copytree("cars", "old")
    begun = time.monotonic()
    run("cars", "--add", "new")
    seconds = time.monotonic() - begun
    found, moments = [len(Gallery.load("cars", verify=True))], np.random.default_rng(0)
    for _ in range(kills):
        shutil.rmtree("cars")
        shutil.copytree("old", "cars")
        killed_add(moments.uniform(0, 1.2 * seconds))
        found.append(len(Gallery.load("cars", verify=True)))
    assert {*found} == {8, 13}

"""`carsfg embed`: photos and galleries give the same table, and mistakes are one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from carsfg.cli import main
from carsfg.search.gallery import Gallery
from tests.commands.conftest import one_line

Capture = pytest.CaptureFixture[str]


def embed(*words: str | Path) -> int:
    return main(["embed", *map(str, words)])


def test_photos_give_what_a_gallery_of_them_holds(gallery: Path, cars: Path, tmp_path: Path, capsys: Capture) -> None:
    """Down to the last bit: the same network, batches and precision."""
    table, made = gallery.parent / "cars.csv", tmp_path / "made.parquet"
    words = [f"--data.images={cars}", "--device=cpu", "--precision=32-true"]
    assert embed(gallery.parent / "cnn.ckpt", table, f"--output={made}", *words) == 0
    out, err = capsys.readouterr()
    assert out == f"{made}: 24 embeddings of length 1, 8 wide; columns path, label, make, body, year, embedding\n"
    assert "cosine" in err
    assert embed(gallery, f"--output={tmp_path / 'kept.parquet'}") == 0
    first, second = (parquet.read_table(tmp_path / name) for name in ("made.parquet", "kept.parquet"))
    assert first.equals(second)
    assert first.column("path").to_pylist() == list(Gallery.load(gallery).paths)
    assert first.column("make")[0].as_py() == first.column("label")[0].as_py().split()[0]


def test_the_metric_decides_the_length(gallery: Path, cars: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["--device=cpu", f"--output={tmp_path / 'e.npy'}"]
    assert embed(gallery.parent / "cnn.ckpt", cars, "--metric=euclidean", *words) == 0
    assert f"{tmp_path / 'e.npy'} and {tmp_path / 'e.csv'}: 24 embeddings, 8 wide" in capsys.readouterr().out
    raw = np.load(tmp_path / "e.npy")
    assert embed(gallery.parent / "cnn.ckpt", cars, "--overwrite", *words) == 0
    unit = np.load(tmp_path / "e.npy")
    assert np.linalg.norm(unit, axis=1) == pytest.approx(1)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)
    assert raw / np.linalg.norm(raw, axis=1, keepdims=True) == pytest.approx(unit, abs=1e-6)


def test_unreadable_photos_are_named(gallery: Path, cars: Path, tmp_path: Path, capsys: Capture) -> None:
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    (photos / "a/1.png").write_bytes(next(cars.rglob("*.png")).read_bytes())
    (photos / "a/2.png").write_text("no image")
    assert embed(gallery.parent / "cnn.ckpt", photos, f"--output={tmp_path / 'e.npy'}", "--device=cpu") == 0
    assert "left out: " in (said := capsys.readouterr().err)
    assert "a/2.png is not an image" in said
    assert (tmp_path / "e.csv").read_text().split() == ["path,label", "a/1.png,a"]


def test_a_compressed_gallery_is_written_with_a_warning(gallery: Path, tmp_path: Path, capsys: Capture) -> None:
    kept = Gallery.load(gallery)
    vectors = torch.stack([kept.vector(place) for place in range(len(kept))])  # type: ignore[misc]
    Gallery.build(vectors, kept.labels, factory="SQ8").save(tmp_path / "coarse")
    assert embed(tmp_path / "coarse", f"--output={tmp_path / 'e.parquet'}") == 0
    assert "these embeddings are approximate: the gallery's index (IndexScalarQuantizer)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GALLERY"], "the following arguments are required: output"),
        (["GALLERY", "--output=e.txt"], "'e.txt' is neither a .parquet nor a .npy file: use a name that ends so"),
        (["GALLERY", "--output=none/e.npy"], "cannot write 'none/e.npy': the folder does not exist"),
        (["GALLERY", "--output=old.npy"], "old.csv exists: add --overwrite to replace it"),
        (["GALLERY", "photos", "--output=e.npy"], "embeddings are written as they are: leave 'photos' out, or"),
        (["GALLERY", "--output=e.npy", "--metric=cosine"], "--metric is for photos, but"),
        (["GALLERY", "--output=e.npy", "--data.crop=false"], "--data.crop is for photos, but"),
        (["GALLERY", "--output=e.npy", "--device=cpu"], "--device is for photos, but"),
        (["CHECKPOINT", "./old.csv", "--output=old.npy", "--overwrite"], "old.csv is the table that the photos are"),
        (["CHECKPOINT", "--output=e.npy"], "is not the folder of a gallery: name the photos after the checkpoint"),
        (["nothing", "photos", "--output=e.npy"], "no checkpoint nothing"),
        (["CHECKPOINT", "nothing", "--output=e.npy"], "the folder or table nothing does not exist"),
        ([".", "--output=e.npy"], "no gallery in .: `carsfg index` and `carsfg predict` write them"),
    ],
)  # fmt: skip
def test_mistakes(
    words: list[str], said: str, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.csv").touch()
    names = {"GALLERY": str(gallery), "CHECKPOINT": str(gallery.parent / "cnn.ckpt")}
    assert embed(*(names.get(word, word) for word in words)) == 2
    assert said in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]

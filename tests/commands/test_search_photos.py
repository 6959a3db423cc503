"""`carsfg search` with every photo that people have, and with what only looks like one."""

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carsfg.cli import main
from tests.commands.conftest import Search


def turned(image: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """What a camera held upright would store."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return image.transpose(Image.Transpose.ROTATE_90), {"exif": exif}


FORMS: dict[str, Callable[[Image.Image], tuple[Image.Image, dict[str, Any]]]] = {
    "rotated.png": turned,
    "rgba.png": lambda image: (image.convert("RGBA"), {}),
    "photo.bmp": lambda image: (image, {}),
    "photo.tif": lambda image: (image, {}),
    "lossless.webp": lambda image: (image, {"lossless": True}),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_photo_in_another_form(name: str, search: Search, car: Path, tmp_path: Path) -> None:
    image, kwargs = FORMS[name](Image.open(car))
    image.save(tmp_path / name, **kwargs)
    (one,) = search(tmp_path / name)
    assert one["matches"][0]["path"].endswith(car.name)
    assert one["matches"][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_every_photo_that_people_have(search: Search, car: Path, tmp_path: Path) -> None:
    image = Image.open(car)
    grey = image.convert("L")
    turned_image, exif = turned(image)
    turned_image.save(tmp_path / "rotated.jpg", **exif)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    image.quantize(64).save(tmp_path / "palette.png")
    image.save(tmp_path / "animated.gif", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    image.save(tmp_path / "lossy.webp")
    grey.save(tmp_path / "grey.jpg")
    image.resize((1, 1)).save(tmp_path / "dot.png")
    image.resize((20_000, 40)).save(tmp_path / "wide.png")
    image.resize((2, 20_000)).save(tmp_path / "tall.png")
    (tmp_path / "no_suffix").write_bytes(car.read_bytes())
    photos = sorted(tmp_path.iterdir())
    assert len(photos) == 11
    found = {Path(one["photo"]).name: one["matches"] for one in search(*photos, f"--output={tmp_path / 'all.png'}")}
    assert list(found) == [path.name for path in photos]
    assert all(len(matches) == 10 for matches in found.values())
    near = [found[name][0]["similarity"] for name in ("rotated.jpg", "palette.png", "animated.gif", "lossy.webp")]
    assert min(near) > 0.99
    assert found["deep.png"][0]["similarity"] == pytest.approx(found["grey.jpg"][0]["similarity"], abs=0.01)


def bomb() -> bytes:
    """A PNG of 900 million pixels in a few bytes."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    header = file.getvalue()
    start = b"IHDR" + 2 * (30_000).to_bytes(4, "big") + header[24:29]
    return header[:12] + start + zlib.crc32(start).to_bytes(4, "big") + header[33:]


def test_broken_and_hostile_ones_are_one_line_and_the_others_are_answered(
    gallery: Path, car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jpeg = io.BytesIO()
    Image.open(car).save(jpeg, "JPEG")
    broken = {
        "bomb.png": (bomb(), "too many pixels"),
        "cut.jpg": (jpeg.getvalue()[:400], "damaged or cut off"),
        "cut.png": (car.read_bytes()[:200], "damaged or cut off"),
        "empty.jpg": (b"", "is not an image"),
        "fake.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        "paper.pdf": (b"%PDF-1.4", "is not an image"),
        "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
    }
    for name, (data, _) in broken.items():
        (tmp_path / name).write_bytes(data)
    photos = [car, *(tmp_path / name for name in broken), tmp_path / "nowhere.jpg", tmp_path / ("a" * 300), car]
    assert main(["search", str(gallery), *map(str, photos), "--json", "--device=cpu"]) == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["photo"] for line in out.splitlines()] == [str(car), str(car)]
    lines = err.splitlines()
    assert len(lines) == len(broken) + 2
    for line, (name, (_, words)) in zip(lines, broken.items(), strict=False):
        assert line.startswith("carsfg: error: ")
        assert name in line
        assert words in line
    assert "cannot read " in lines[-2]
    assert "cannot read " in lines[-1]


def test_an_empty_folder_keeps_no_other_from_being_answered(search: Search, car: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert [one["photo"] for one in search(tmp_path / "empty", car, code=2)] == [str(car)]

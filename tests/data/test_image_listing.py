"""Which files of a folder are images, and the account of the others."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from carsfg.data.image_folder import find_photos
from carsfg.data.image_io import READS_AVIF
from carsfg.data.image_listing import list_images
from carsfg.errors import InputError
from tests.data.test_image_folder import fill


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder).paths]


def test_all_suffixes_of_images_in_both_cases(tmp_path: Path) -> None:
    files = ["1.jfif", "2.jpe", "3.JFIF", "4.TIFF", "5.WebP"] + (["6.avif"] if READS_AVIF else [])
    assert names(fill(tmp_path, *files)) == files
    assert list_images(tmp_path).left_out == ""


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "real", "a/1.jpg", "b/2.jpg")
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "real" / name, target_is_directory=True)
    (tmp_path / "in/c.jpg").symlink_to(tmp_path / "real/a/1.jpg")
    assert names(tmp_path / "in") == ["a/1.jpg", "b/2.jpg", "c.jpg"]
    assert find_photos(tmp_path / "in").class_names == ["a", "b"]


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.jpg", "b/2.jpg")
    (folder / "a/again").symlink_to(folder, target_is_directory=True)
    (folder / "b/self").symlink_to(folder / "b/self")
    assert names(folder) == ["a/1.jpg", "b/2.jpg"]
    assert list_images(folder).left_out == "left out: 1 links to a folder above them, 1 links to nothing"


def test_everything_left_out_is_counted_in_one_line(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a/1.jpg", "a/.2.jpg", ".trash/3.jpg", "@eaDir/a/4.jpg", "__MACOSX/5.jpg")
    for name in ("a/x.heic", "a/y.HEIC", "a/z.jp2", "notes.txt", "photo"):
        (folder / name).write_text("x")
    (folder / "a/gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "a/pipe.jpg")
    photos = find_photos(folder)
    assert photos.class_names == ["a"]
    assert photos.source.left_out == (
        "left out: 2 .heic, 1 .jp2, 1 .txt, 1 @eaDir, 1 __MACOSX, 1 devices, 2 hidden, 1 links to nothing, "
        "1 without suffix"
    )


def test_folders_that_must_not_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything: the refusal is made up."""
    fill(tmp_path, "a/1.jpg", "b/2.jpg")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_images(tmp_path).left_out == f"left out: cannot read {tmp_path / 'b'} (Permission denied)"
    with pytest.raises(InputError, match=r"cannot read .*b: Permission denied"):
        list_images(tmp_path / "b")


def test_a_folder_without_a_readable_image_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "1.heic").write_text("x")
    with pytest.raises(InputError, match=r"no image in .*; left out: 1 \.heic"):
        find_photos(tmp_path)


def test_names_in_both_unicode_forms_are_one_class(tmp_path: Path) -> None:
    folders = [unicodedata.normalize(form, "Citroën Coupé") for form in ("NFC", "NFD")]
    fill(tmp_path, *(f"{folder}/1.jpg" for folder in folders))
    photos = find_photos(tmp_path)
    assert (photos.class_names, photos.labels.tolist()) == ([folders[0]], [0, 0])


def test_a_plain_sub_folder_called_stanford_cars_is_a_folder_of_images(tmp_path: Path) -> None:
    photos = find_photos(fill(tmp_path, "vehicles/stanford_cars/1.jpg"))
    assert photos.class_names == ["vehicles"]

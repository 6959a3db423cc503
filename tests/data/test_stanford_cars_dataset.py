import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.errors import InputError
from tests.data.conftest import FIELDS, NAMES, Photo, encode, gradient, write_annotations, write_cars


def test_reads_annotations_counted_from_one(cars: Path) -> None:
    data = StanfordCars(cars, "train")
    assert len(data) == 3
    assert data.labels.tolist() == [0, 1, 2]
    assert data.labels.dtype == data.boxes.dtype == torch.int64
    assert data.boxes.tolist() == [[2, 1, 6, 5], [0, 0, 20, 30], [0, 0, 300, 4]]
    assert [path.name for path in data.paths] == ["00001.jpg", "00002.jpg", "00003.jpg"]


def test_class_names_keep_their_order_and_their_slash(cars: Path) -> None:
    assert StanfordCars(cars, "train").class_names == list(NAMES)


def test_small_unsigned_integers_do_not_wrap(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(label=196, box=(1, 1, 255, 2))], names=[f"Car {i}" for i in range(196)])
    data = StanfordCars(tmp_path, "train", crop=False)
    assert (data.labels.tolist(), data.boxes.tolist()) == ([195], [[0, 0, 255, 2]])


def test_item_is_the_exact_crop(cars: Path) -> None:
    item = StanfordCars(cars, "train")[0]
    assert (item["label"], item["index"]) == (0, 0)
    assert item["image"].dtype == torch.uint8
    assert item["image"].shape == (3, 4, 4)
    assert item["image"][0, 0].tolist() == [20, 30, 40, 50]  # red is 10 x, x from 2 to 5
    assert item["image"][1, :, 0].tolist() == [10, 20, 30, 40]  # green is 10 y, y from 1 to 4


def test_transform_gets_the_crop(cars: Path) -> None:
    data = StanfordCars(cars, "train", transform=lambda image: image.size)
    assert [data[i]["image"] for i in range(3)] == [(4, 4), (20, 30), (300, 4)]


@pytest.mark.parametrize(("margin", "size", "first"), [(0.25, (6, 6), 10), (0.5, (8, 7), 0), (10, (10, 8), 0)])
def test_margin_is_clipped_at_the_image(cars: Path, margin: float, size: tuple[int, int], first: int) -> None:
    crop = StanfordCars(cars, "train", margin=margin).load(0)
    assert crop.size == size
    assert np.array(crop)[0, 0, 0] == first


def test_crops_already_made_stay_untouched(cars: Path) -> None:
    crop = StanfordCars(cars, "train", crop=False, margin=0.5).load(0)
    assert (np.array(crop) == gradient()).all()


def test_grey_jpegs_become_rgb(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(data=encode(np.full((8, 10), 77, np.uint8), "JPEG"))])
    assert StanfordCars(tmp_path, "train")[0]["image"].unique().tolist() == [77]
    assert StanfordCars(tmp_path, "train")[0]["image"].shape == (3, 4, 4)


def test_root_may_be_the_folder_itself(cars: Path) -> None:
    assert len(StanfordCars(cars / "stanford_cars", "test")) == 1


def test_folders_may_be_doubled(cars: Path) -> None:
    for name in ("cars_train", "cars_test", "devkit"):
        folder = cars / "stanford_cars" / name
        folder.rename(folder.with_name("inner"))
        folder.mkdir()
        folder.with_name("inner").rename(folder / name)
    assert [len(StanfordCars(cars, split)) for split in ("train", "test")] == [3, 1]
    assert StanfordCars(cars, "train").load(0).size == (4, 4)


def test_no_data_names_the_path_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        StanfordCars(tmp_path, "train")
    for words in (str(tmp_path / "stanford_cars"), "carsfg data fetch", "--config demo.yaml"):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("split", "file"),
    [
        ("train", "devkit/cars_meta.mat"),
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ],
)
def test_annotation_files_that_are_missing_or_damaged_are_named(cars: Path, split: str, file: str) -> None:
    path = cars / "stanford_cars" / file
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=f"cannot read .* from .*{path.name}"):
        StanfordCars(cars, split)  # type: ignore[arg-type]
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name} is missing"):
        StanfordCars(cars, split)  # type: ignore[arg-type]


def test_annotations_without_labels_are_refused(cars: Path) -> None:
    path = cars / "stanford_cars/cars_test_annos_withlabels.mat"
    write_annotations(path, [Photo()], [field for field in FIELDS if field != "class"])
    with pytest.raises(InputError, match=r"withlabels\.mat lacks labels"):
        StanfordCars(cars, "test")


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(), Photo(data=None), Photo(data=None)])
    with pytest.raises(InputError, match=r"2 of the 3 images .* missing, the first is .*00002\.jpg"):
        StanfordCars(tmp_path, "train")


@pytest.mark.parametrize("label", [0, 4])
def test_labels_without_a_name_are_refused(tmp_path: Path, label: int) -> None:
    write_cars(tmp_path, [Photo(), Photo(label=label)])
    with pytest.raises(InputError, match=rf"gives 00002\.jpg the class {label}, .* classes 1 to 3"):
        StanfordCars(tmp_path, "train")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9])
def test_cut_off_images_are_named(tmp_path: Path, kind: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    whole = encode(noise, kind)
    write_cars(tmp_path, [Photo(), Photo(data=whole[: int(keep * len(whole))])])
    data = StanfordCars(tmp_path, "train")
    assert data.load(0).size == (4, 4)
    with pytest.raises(InputError, match=r"00002\.jpg (is not an image|cannot be decoded)"):
        data.load(1)


def test_an_image_that_has_gone_is_named(cars: Path) -> None:
    data = StanfordCars(cars, "train")
    data.paths[1].unlink()
    with pytest.raises(InputError, match=r"cannot read .*00002\.jpg: No such file"):
        data.load(1)


def test_a_box_outside_its_image_is_found_at_once(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(), Photo(box=(3, 2, 11, 5))])
    with pytest.raises(InputError, match=r"00002\.jpg: its box \(2, 1, 11, 5\) leaves .* 10 x 8 .*crop=false"):
        StanfordCars(tmp_path, "train")
    assert len(StanfordCars(tmp_path, "train", crop=False)) == 2


@pytest.mark.parametrize("box", [(0, 2, 6, 5), (6, 2, 5, 5)])
def test_a_box_that_is_none_is_found_when_it_is_cut(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    write_cars(tmp_path, [Photo(), Photo(box=box)])
    with pytest.raises(InputError, match=r"00002\.jpg: its box"):
        StanfordCars(tmp_path, "train").load(1)


@pytest.mark.parametrize("options", [{"split": "val"}, {"split": "train", "margin": -0.1}])
def test_arguments_are_checked(cars: Path, options: dict[str, str]) -> None:
    with pytest.raises(InputError):
        StanfordCars(cars, **options)  # type: ignore[arg-type]


def test_cmyk_and_palette_become_rgb(tmp_path: Path) -> None:
    photos = []
    for mode, kind in (("CMYK", "JPEG"), ("P", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(gradient()).convert(mode).save(buffer, kind)
        photos.append(Photo(data=buffer.getvalue()))
    write_cars(tmp_path, photos)
    assert [StanfordCars(tmp_path, "train")[i]["image"].shape for i in range(2)] == [(3, 4, 4)] * 2


def test_class_names_may_be_one(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo()], names=["Ram C/V Cargo Van Minivan 2012"])
    names = scipy.io.loadmat(str(tmp_path / "stanford_cars/devkit/cars_meta.mat"))["class_names"]
    assert names.shape == (1, 1)
    assert StanfordCars(tmp_path, "train").class_names == ["Ram C/V Cargo Van Minivan 2012"]


@pytest.mark.realdata
def test_real_data(real_root: Path) -> None:
    splits = [StanfordCars(real_root, split, crop=False) for split in ("train", "test")]
    assert [len(split) for split in splits] == [8144, 8041]
    assert splits[0].class_names[173] == "Ram C/V Cargo Van Minivan 2012"
    counts = splits[0].labels.bincount()
    assert (int(counts.min()), int(counts.max())) == (24, 68)


def test_the_margin_is_a_share_of_width_and_of_height(tmp_path: Path) -> None:
    write_cars(tmp_path, [Photo(box=(41, 31, 60, 40), data=encode(gradient(100, 80)))])  # 20 wide, 10 high
    assert StanfordCars(tmp_path, "train", margin=0.2).load(0).size == (20 + 2 * 4, 10 + 2 * 2)

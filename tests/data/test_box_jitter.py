"""Boxes that move in training: windows by hand, exact pixels, and an evaluation that does not notice."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from carsfg.data.augmentation import Recipe
from carsfg.data.batches import CropSamples
from carsfg.data.box_jitter import BoxJitter, open_wide, wide_margin, wide_size, within
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.data.sources.source import NO_BOX, ImageSource
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from tests.conftest import MakeTask, MakeTrainer
from tests.data.conftest import encode, gradient
from tests.data.test_photo_datamodule import ready as ready_photos

PHOTO = gradient(25, 25)  # 10 x and 10 y
STILL = (0.5, 0.5, 0.5, 0.5)
ready = partial(ready_photos, image_size=16)


def images(folder: Path, boxes: list[tuple[int, ...]], margin: float = 0.0) -> CroppedImages:
    for number in range(len(boxes)):
        (folder / f"{number}.png").write_bytes(encode(PHOTO))
    paths = [folder / f"{number}.png" for number in range(len(boxes))]
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return CroppedImages(ImageSource(folder, paths, labels, ["car"], torch.tensor(boxes)), margin=margin)


def jitter_of(folder: Path, boxes: list[tuple[int, ...]], share: float, size: int, margin: float = 0.0) -> BoxJitter:
    exact, wide = images(folder, boxes, margin), images(folder, boxes, wide_margin(margin, share))
    return BoxJitter.of(share, size, [exact], [wide])


def uniform(*sides: float) -> npt.NDArray[np.float32]:
    return np.array([sides], np.float32)


def window(jitter: BoxJitter, *sides: float) -> list[float]:
    return jitter.windows(np.array([0]), uniform(*sides))[0].tolist()  # type: ignore[no-any-return]


def test_windows_by_hand(tmp_path: Path) -> None:
    """A box of 8 x 12 pixels moves by 2 and 3: 12 x 18 pixels are stored, and the box fills 2/3 of them."""
    jitter = jitter_of(tmp_path, [(8, 6, 16, 18)], 0.25, 8)
    assert window(jitter, *STILL) == pytest.approx([-2 / 3, -2 / 3, 2 / 3, 2 / 3])
    assert window(jitter, 0, 0, 1, 1) == pytest.approx([-1, -1, 1, 1])
    assert window(jitter, 1, 1, 0, 0) == pytest.approx([-1 / 3, -1 / 3, 1 / 3, 1 / 3])
    assert window(jitter, 0.75, 0.5, 0.5, 0.5) == pytest.approx([-1 / 2, -2 / 3, 2 / 3, 2 / 3])  # each side by itself
    assert window(jitter, 0.5, 0.75, 0.5, 0.5) == pytest.approx([-2 / 3, -1 / 2, 2 / 3, 2 / 3])
    assert window(jitter, 0.5, 0.5, 0.75, 0.5) == pytest.approx([-2 / 3, -2 / 3, 5 / 6, 2 / 3])
    assert window(jitter, 0.5, 0.5, 0.5, 0.75) == pytest.approx([-2 / 3, -2 / 3, 2 / 3, 5 / 6])


def test_a_box_with_its_margin_moves(tmp_path: Path) -> None:
    """A box of 6 pixels with 3 on each side: 12 move by 3, so 18 are stored."""
    jitter = jitter_of(tmp_path, [(9, 9, 15, 15)], 0.25, 12, margin=0.5)
    assert window(jitter, *STILL) == pytest.approx([-2 / 3, -2 / 3, 2 / 3, 2 / 3])
    assert window(jitter, 0, 0, 1, 1) == pytest.approx([-1, -1, 1, 1])


def test_a_box_at_the_edge_of_its_photo(tmp_path: Path) -> None:
    """From x = 1, 8 pixels wide: 1 pixel is left of it, and 2 are stored to its right, 11 in all."""
    jitter = jitter_of(tmp_path, [(1, 8, 9, 16)], 0.25, 8)
    left, right = 2 * 1 / 11 - 1, 2 * 9 / 11 - 1
    assert window(jitter, *STILL) == pytest.approx([left, -2 / 3, right, 2 / 3])
    assert window(jitter, 0, 0.5, 0.5, 0.5)[0] == -1  # 2 pixels to the left, clipped to 1
    assert window(jitter, 1, 0.5, 0, 0.5) == pytest.approx([2 * 3 / 11 - 1, -2 / 3, 2 * 7 / 11 - 1, 2 / 3])


def test_a_whole_image_among_boxes_stays_whole(tmp_path: Path) -> None:
    jitter = jitter_of(tmp_path, [NO_BOX, (8, 8, 16, 16)], 0.25, 8)
    assert window(jitter, 1, 1, 0, 0) == [-1, -1, 1, 1]
    assert jitter.windows(np.array([1]), uniform(1, 1, 0, 0))[0].tolist() == pytest.approx(
        [-1 / 3, -1 / 3, 1 / 3, 1 / 3]
    )


def test_a_map_into_a_window() -> None:
    mirror = np.array([[[-1, 0, 0], [0, 1, 0.5]]], np.float32)
    assert within(mirror, uniform(-1, -0.5, 0, 1)).tolist() == [[[-0.5, 0, -0.5], [0, 0.75, 0.625]]]


@pytest.mark.parametrize(("size", "share", "stored"), [(224, 0.1, 269), (100, 0.05, 110), (8, 0.25, 12), (8, 0, 8)])
def test_the_car_keeps_its_pixels(size: int, share: float, stored: int) -> None:
    assert wide_size(size, share) == stored


@pytest.mark.parametrize("recipe", [None, Recipe(flip=True)])
def test_training_gets_the_pixels_of_the_window(
    recipe: Recipe | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box (8, 8, 16, 16), moved by (-2, 1) pixels, without resizing: the pixels (6, 9, 14, 17) of the photo."""
    jitter = jitter_of(tmp_path, [(8, 8, 16, 16)], 0.25, 8)
    caches = open_wide([images(tmp_path, [(8, 8, 16, 16)], 0.25)], 12, tmp_path / "cache")
    assert caches[0].path.name.startswith("wide_images-12-")
    samples = CropSamples(caches, np.array([0]), np.array([0]), recipe, jitter=jitter)
    drawn = np.concatenate([np.full((1, 9), 0.4, np.float32), uniform(0, 0.75, 0, 0.75)], 1)  # below 0.5: mirrored
    monkeypatch.setattr(samples, "_uniform", (0, drawn))
    seen = samples[0]["image"].permute(1, 2, 0).numpy()
    expected = PHOTO[9:17, 6:14]
    assert np.array_equal(seen, expected if recipe is None else expected[:, ::-1])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twenty photos of two classes, each with a box."""
    lines = ["path,label,x0,y0,x1,y1"]
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8).repeat(5, 0).repeat(5, 1)
        (tmp_path / f"{number}.png").write_bytes(encode(pixels))
        lines.append(f"{number}.png,{'Golf' if number % 2 else 'Astra'},{number % 5},5,30,25")
    (tmp_path / "cars.csv").write_text("\n".join(lines))
    return tmp_path / "cars.csv"


def seen(loader: Any, epoch: int = 0) -> torch.Tensor:
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    order = torch.cat([batch["index"] for batch in batches]).argsort()
    return torch.cat([batch["image"] for batch in batches])[order].float()


def test_evaluation_does_not_notice(table: Path) -> None:
    still, moving = ready(table), ready(table, box_jitter=0.2)
    pairs = [*zip(still.val_dataloader(), moving.val_dataloader(), strict=True)]
    pairs += [*zip(still.test_dataloader(), moving.test_dataloader(), strict=True)]
    pairs += [(still.predict_dataloader(), moving.predict_dataloader())]
    pairs += [(still.every_image_dataloader(), moving.every_image_dataloader())]
    assert all(torch.equal(seen(one), seen(other)) for one, other in pairs)
    assert np.array_equal(still.crops(still.splits.train), moving.crops(still.splits.train))
    assert still.wide_caches == []
    trained = seen(moving.train_dataloader())
    assert trained.shape == (len(still.splits.train), 3, 16, 16)
    assert all(not torch.equal(one, other) for one, other in zip(trained, seen(still.train_dataloader()), strict=True))
    assert still.split_hash == moving.split_hash


def test_a_still_box_shows_what_evaluation_sees(table: Path) -> None:
    """Each image by its own box, which is central in the wide image or not."""
    data = ready(table, box_jitter=0.2)
    assert data._jitter is not None
    data._jitter = replace(data._jitter, reach=np.zeros((20, 4), np.float32))
    crops = torch.from_numpy(data.crops(data.splits.train)).permute(0, 3, 1, 2).float()
    difference = (seen(data.train_dataloader()) - crops).abs().mean((1, 2, 3))
    assert difference.max() < 12  # resized twice instead of once; another image's box or the whole square: above 30


def test_boxes_move_by_seed_and_epoch(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    first = seen(ready(table, box_jitter=0.2).train_dataloader())
    again = seen(ready(table, box_jitter=0.2, num_workers=1).train_dataloader())
    assert torch.equal(first, again)
    assert not torch.equal(first, seen(ready(table, box_jitter=0.2).train_dataloader(), epoch=1))
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert not torch.equal(first, seen(ready(table, box_jitter=0.2).train_dataloader()))


def test_a_test_needs_no_wide_images(table: Path) -> None:
    data = PhotoDataModule(root=str(table), image_size=16, box_jitter=0.2, crop=False)
    data.prepare_data()
    data.setup("test")
    assert data.wide_caches == []
    assert not list(table.parent.glob("**/wide_*"))


def test_a_run_with_moving_boxes_says_so_and_no_other(table: Path) -> None:
    assert ready(table, box_jitter=0.2).describe()["box_jitter"] == 0.2
    assert "box_jitter" not in ready(table).describe()


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_the_range_of_the_share(share: float) -> None:
    with pytest.raises(InputError, match=f"^data.box_jitter is {share}: use 0 to 0.5$"):
        StanfordCarsDataModule(box_jitter=share)


def test_stored_copies_do_not_move() -> None:
    with pytest.raises(InputError, match=r"'seed_leaky' stores its augmented copies: leave data.box_jitter out"):
        StanfordCarsDataModule(box_jitter=0.1, protocol="seed_leaky")
    StanfordCarsDataModule(protocol="seed_leaky")


def test_images_without_boxes(table: Path) -> None:
    with pytest.raises(InputError, match=r"needs boxes; remove data.crop=false, or set box_jitter to 0$"):
        ready(table, box_jitter=0.1, crop=False)
    plain = [line.rsplit(",", 4)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(plain))
    with pytest.raises(
        InputError,
        match=r"needs boxes; the images have none: add boxes to the table, or set",
    ):
        ready(table, box_jitter=0.1)


def test_a_run_stops_before_it_decodes(table: Path, make_trainer: MakeTrainer, make_task: MakeTask) -> None:
    data = PhotoDataModule(root=str(table), image_size=32, box_jitter=0.1, crop=False)
    with pytest.raises(InputError, match="needs boxes"):
        make_trainer().fit(make_task(class_names=["Astra", "Golf"]), data)
    assert not list(table.parent.glob("**/photos-*"))

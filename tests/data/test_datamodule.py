"""Loaders, protocols and reuse of features, on drawn cars."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from carsfg.synthetic.dataset import DrawnCars
from tests.data.conftest import Photo, write_cars

SPEC = DrawnCars(classes=4, train=10, test=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def ready(root: Path, **arguments: Any) -> StanfordCarsDataModule:
    data = StanfordCarsDataModule(root=str(root), drawn=SPEC, image_size=32, batch_size=8, **arguments)
    data.prepare_data()
    data.setup("fit")
    return data


def images(batches: Any) -> torch.Tensor:
    return torch.cat([batch["image"] for batch in batches])


def test_a_batch_is_what_the_tasks_take(root: Path) -> None:
    batch = next(iter(ready(root).train_dataloader()))
    assert batch["image"].shape == (8, 3, 32, 32)
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert batch["label"].shape == batch["index"].shape == (8,)


def test_drawn_cars_are_drawn_under_the_root_only_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="carsfg data fetch"):
        StanfordCarsDataModule(root=str(tmp_path)).prepare_data()
    assert list(tmp_path.iterdir()) == []
    drawn = StanfordCarsDataModule(root=str(tmp_path), drawn=SPEC, image_size=16)
    assert len(drawn.class_names) == 4  # known without drawing
    assert list(tmp_path.iterdir()) == []
    drawn.prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["drawn_cars"]


def test_splits_have_the_drawn_numbers_and_indices_are_places_in_the_split(root: Path) -> None:
    data = ready(root)
    assert [len(loader.dataset) for loader in (data.train_dataloader(), *data.val_dataloader())] == [36, 4]  # type: ignore[arg-type]
    (test,) = data.test_dataloader()
    assert torch.cat([batch["index"] for batch in test]).tolist() == list(range(20))


def test_an_epoch_is_augmented_anew_but_repeats_itself_whatever_the_workers(root: Path) -> None:
    alone = ready(root, augment="crop_flip_rotate", num_workers=0).train_dataloader()
    helped = ready(root, augment="crop_flip_rotate", num_workers=2).train_dataloader()
    first = images(alone)
    assert torch.equal(first, images(helped))
    alone.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert not torch.equal(first, images(alone))


def test_evaluation_is_not_augmented(root: Path) -> None:
    plain, augmented = ready(root), ready(root, augment="crop_flip_jitter")
    assert torch.equal(images(plain.test_dataloader()[0]), images(augmented.test_dataloader()[0]))
    assert torch.equal(images(plain.val_dataloader()[0]), images(augmented.val_dataloader()[0]))


def test_loading_leaves_the_global_random_state_alone(root: Path) -> None:
    data = ready(root, augment="crop_flip_rotate")
    before = torch.get_rng_state()
    images(data.train_dataloader())
    assert torch.equal(before, torch.get_rng_state())


def test_a_single_image_is_never_a_training_batch_of_its_own(root: Path) -> None:
    data = ready(root, val="none")
    data.batch_size = 13  # 40 = 3 x 13 + 1
    assert [len(batch["label"]) for batch in data.train_dataloader()] == [13, 13, 13]


def test_without_validation_there_is_no_loader(root: Path) -> None:
    assert ready(root, val="none").val_dataloader() == []


def test_a_train_gallery_is_one_more_loader(root: Path) -> None:
    data = ready(root, retrieval="closed_train_gallery", augment="crop_flip_jitter")
    val, gallery = data.val_dataloader()
    assert len(val.dataset) == 4  # type: ignore[arg-type]
    plain = ready(root)
    assert torch.equal(images(gallery), images(plain._loader(plain.splits.train)))


def test_zero_shot_learns_half_of_the_classes_and_scores_no_head(root: Path) -> None:
    data = ready(root, protocol="zero_shot", val="none")
    assert len(data.class_names) == 2
    assert not data.head_is_scored
    assert data.retrieval == "zero_shot"
    labels = torch.cat([batch["label"] for batch in data.test_dataloader()[0]])
    assert sorted(set(labels.tolist())) == [2, 3]
    assert len(labels) == 30


def test_leaky_copies_are_stored_augmentations(root: Path) -> None:
    data = ready(root, protocol="seed_leaky", augment="crop_flip_jitter")
    loader = data.train_dataloader()
    first = {int(i): image for b in loader for i, image in zip(b["index"], b["image"], strict=True)}
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    again = {int(i): image for b in loader for i, image in zip(b["index"], b["image"], strict=True)}
    assert len(first) == 136  # 85 % of 4 x 40
    assert all(torch.equal(first[index], again[index]) for index in first)
    assert torch.equal(images(data.test_dataloader()[0]), images(ready(root).test_dataloader()[0]))


def test_features_serve_the_copies_too(root: Path) -> None:
    data = ready(root, protocol="seed_leaky")
    data.features = torch.arange(60.0).view(60, 1)
    batches = list(data.train_dataloader())
    assert sum(len(batch["label"]) for batch in batches) == 136
    for batch in batches:
        assert torch.equal(batch["label"], torch.from_numpy(data.labels)[batch["feature"].flatten().long()])


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"image_size": 0}, {"num_workers": -1}])
def test_numbers_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"or more|must be 1 to"):
        StanfordCarsDataModule(**wrong)  # type: ignore[arg-type]


def test_nothing_to_validate_on(root: Path) -> None:
    data = ready(root, val="none")
    with pytest.raises(InputError, match="nothing to validate on"):
        data.setup("validate")


def test_the_leak_needs_its_own_validation(root: Path) -> None:
    with pytest.raises(InputError, match=r"set data\.val: holdout"):
        ready(root, protocol="seed_leaky", val="test")


def test_features_take_the_place_of_images(root: Path) -> None:
    data = ready(root)
    data.features = torch.arange(60.0).view(60, 1)  # the feature of each pooled row is its number
    batch = next(iter(data.test_dataloader()[0]))
    assert batch["feature"].flatten().tolist() == list(range(40, 48))
    assert "image" not in batch
    assert torch.equal(batch["label"], next(iter(ready(root).test_dataloader()[0]))["label"])


def test_crops_by_row_whatever_the_loaders_give(root: Path) -> None:
    data = ready(root, protocol="seed_leaky", augment="crop_flip_jitter")
    every = images(data.every_image_dataloader()).permute(0, 2, 3, 1).numpy()
    data.features = torch.zeros(60, 2)
    crops = data.crops(np.array([59, 3, 3 + 2 * 60]))  # of both folders; the last is a stored copy
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, every[[59, 3, 3]])


def test_test_images_are_searched_in_all_of_train_and_the_holdout_in_what_was_learned(root: Path) -> None:
    data = ready(root, retrieval="closed_train_gallery")
    counts = [
        sum(len(batch["label"]) for batch in loaders[1]) for loaders in (data.test_dataloader(), data.val_dataloader())
    ]
    assert counts == [40, len(data.splits.train)]
    leaky = ready(root, retrieval="closed_train_gallery", protocol="seed_leaky").gallery_rows("val")
    assert leaky is not None
    assert leaky.tolist() == list(range(40))  # each image once, of however many copies


def test_zero_shot_has_a_gallery_of_its_own(root: Path) -> None:
    with pytest.raises(InputError, match=r"leave data\.retrieval out"):
        ready(root, protocol="zero_shot", retrieval="closed_train_gallery")


def test_names_are_parsed_for_attributes_only_if_they_are_those_of_cars(root: Path, tmp_path: Path) -> None:
    data = ready(root)
    assert set(data.class_attributes) == {"make", "body", "year"}
    assert data.class_attributes["body"] == ["Wagon", "Van", "Coupe", "Cab"]
    write_cars(tmp_path, [Photo(label=1), Photo(label=2), Photo(label=3)])
    other = StanfordCarsDataModule(root=str(tmp_path), image_size=8, val="none")
    other.setup("fit")
    assert other.class_attributes == {}


def test_balanced_sampling_draws_all_classes_about_equally_often(root: Path) -> None:
    data = ready(root, sampling="balanced", val="none")
    data.labels[data.splits.train[:9]] = 0  # class 0 becomes common
    labels = torch.cat([batch["label"] for batch in data.train_dataloader()]).numpy()
    assert len(labels) == 40
    assert np.bincount(data.labels[data.splits.train]).max() >= 15
    assert np.bincount(labels, minlength=4).max() <= 15 - 1
    with pytest.raises(InputError, match=r"set data\.sampling: shuffle"):
        ready(root, sampling="balanced", images_per_class=2).train_dataloader()

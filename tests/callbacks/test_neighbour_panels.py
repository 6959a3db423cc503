"""NeighbourPanels: what it writes and when, and that the images are those of the indices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image

import carsfg.callbacks.neighbour_panels as module
from carsfg.callbacks.faiss_retrieval import FaissRetrieval
from carsfg.callbacks.neighbour_panels import NeighbourPanels, View, narrow, pick, thumbnail
from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.errors import InputError
from carsfg.retrieval.ranking import EmbeddedImages, RetrievalResult
from carsfg.tasks.classifier import CarClassifier
from tests.callbacks.test_confusion_matrix import ENDS, images
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer

SQUEEZE = {"backbone": "squeezenet1_1", "freeze": "backbone"}
GALLERY = {"retrieval": "closed_train_gallery"}  # four validation images of four classes have nothing to find otherwise
FIGURES = ["best", "worst", "random"]


def embedded(labels: list[int], indices: list[int] | None = None) -> EmbeddedImages:
    places = torch.arange(len(labels)) if indices is None else torch.tensor(indices)
    return EmbeddedImages(torch.rand(len(labels), 3), torch.tensor(labels), places)


def searched(labels: list[int], precision: list[float]) -> RetrievalResult:
    return RetrievalResult(
        embedded(labels), None, torch.zeros(len(labels), 1, dtype=torch.int64), torch.tensor(precision), {}
    )


def ready(cars: StanfordCarsDataModule) -> StanfordCarsDataModule:
    cars.prepare_data()
    cars.setup("fit")
    return cars


def folder(logger: TensorBoardLogger, name: str) -> tuple[list[str], list[str], tuple[int, int]]:
    """The lines of the metadata and of the tensors, and the size of the sheet of thumbnails."""
    where = Path(logger.log_dir) / name
    lines = [(where / file).read_text().splitlines() for file in ("metadata.tsv", "tensors.tsv")]
    return lines[0], lines[1], Image.open(where / "sprite.png").size


def test_last_epoch_and_test_in_tensorboard(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger, callbacks = (
        TensorBoardLogger(tmp_path),
        [NeighbourPanels(queries=2, neighbours=3, projected=15), FaissRetrieval()],
    )
    trainer = make_trainer(max_epochs=2, callbacks=callbacks, logger=logger, num_sanity_val_steps=2)
    task, cars = make_task(**SQUEEZE), make_cars(**GALLERY)
    trainer.fit(task, cars)
    trainer.test(task, cars, verbose=False)
    logger.finalize("success")
    expected = {
        f"{split}/retrieval/{name}": [10] for name in FIGURES for split in ("val", "test")
    }  # 5 batches an epoch
    assert images(logger) == expected
    config = (Path(logger.log_dir) / "projector_config.pbtxt").read_text()
    assert [name for name in ("val_embeddings:00010", "test_embeddings:00010") if name in config] == [
        "val_embeddings:00010",
        "test_embeddings:00010",
    ]
    metadata, tensors, size = folder(logger, "00010/val_embeddings")
    assert (len(metadata), len(tensors), size) == (1 + 4, 4, (64, 64))  # 2 x 2 thumbnails of 32 pixels
    metadata, tensors, size = folder(logger, "00010/test_embeddings")
    assert (len(metadata), len(tensors), size) == (1 + 15, 15, (128, 128))
    assert metadata[0] == "class\tmake\tbody\tyear\taverage precision"
    assert {line.split("\t")[0] for line in metadata[1:]} == set(NAMES)
    assert {tuple(line.split("\t")[1:4]) for line in metadata[1:]} >= {("Dunmore", "Van", "2012")}
    assert {len(line.split("\t")) for line in tensors} == {128}  # squeezenet's 512, made narrower


def test_own_photos_with_attributes(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    lines = ["path,label,split,colour"]
    for number in range(8):
        Image.new("RGB", (32, 32), (30 * number, 90, 90)).save(tmp_path / f"{number}.png")
        split = "test" if number < 4 else "train"
        lines.append(f"{number}.png,{'rose' if number % 2 else 'aster'},{split},{'dark red' if number % 4 else 'pink'}")
    (tmp_path / "flowers.csv").write_text("\n".join(lines))
    data = PhotoDataModule(root=str(tmp_path / "flowers.csv"), image_size=32, val="test", allow_leaks=True)
    logger = TensorBoardLogger(tmp_path)
    callbacks = [FaissRetrieval(), NeighbourPanels(queries=2, neighbours=1)]
    trainer = make_trainer(callbacks=callbacks, logger=logger)
    task = CarClassifier("squeezenet1_1", None, class_names=["aster", "rose"], image_size=32)
    trainer.test(task, data, verbose=False)
    logger.finalize("success")
    assert set(images(logger)) == {f"test/retrieval/{name}" for name in FIGURES}
    metadata, _, _ = folder(logger, "00000/test_embeddings")
    assert metadata[0] == "class\tcolour\taverage precision"
    assert sorted(line.split("\t")[:2] for line in metadata[1:]) == [
        ["aster", "dark red"], ["aster", "pink"], ["rose", "dark red"], ["rose", "dark red"],
    ]  # fmt: skip


def test_nothing_is_written_without_a_search(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    callbacks = [FaissRetrieval(every_n_epochs=2), NeighbourPanels()]
    trainer = make_trainer(max_epochs=1, callbacks=callbacks, logger=logger, num_sanity_val_steps=2)
    trainer.fit(make_task(**SQUEEZE), make_cars(**GALLERY))
    logger.finalize("success")
    assert images(logger) == {}
    assert not (Path(logger.log_dir) / "projector_config.pbtxt").exists()


def test_validation_alone_with_nothing_to_find(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    panels = NeighbourPanels(queries=2, neighbours=3)
    trainer = make_trainer(callbacks=[FaissRetrieval(), panels], logger=logger, max_epochs=9)
    trainer.validate(make_task(**SQUEEZE), make_cars(), verbose=False)
    logger.finalize("success")
    assert images(logger) == {"val/retrieval/random": [0]}
    metadata, _, _ = folder(logger, "00000/val_embeddings")
    assert {line.split("\t")[4] for line in metadata[1:]} == {""}


def test_no_projector(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = make_trainer(
        callbacks=[FaissRetrieval(), NeighbourPanels(queries=2, neighbours=3, projected=0)], logger=logger
    )
    trainer.test(make_task(**SQUEEZE), make_cars(), verbose=False)
    assert sorted(path.name for path in Path(logger.log_dir).iterdir() if "tfevents" not in path.name) == [
        "hparams.yaml"
    ]


def test_other_loggers_get_nothing(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = CSVLogger(tmp_path)
    trainer = make_trainer(callbacks=[FaissRetrieval(), NeighbourPanels()], logger=logger)
    trainer.test(make_task(**SQUEEZE), make_cars(), verbose=False)
    assert sorted(path.name for path in Path(logger.log_dir).iterdir()) == ["metrics.csv"]


def test_without_a_search_or_our_data_there_is_nothing_to_show(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = make_trainer(callbacks=[NeighbourPanels()], logger=logger)
    trainer.test(make_task(**SQUEEZE), make_cars(), verbose=False)
    trainer = make_trainer(callbacks=[FaissRetrieval(), NeighbourPanels()], logger=logger)
    trainer.test(make_task(**SQUEEZE), ready(make_cars()).test_dataloader(), verbose=False)
    assert images(logger) == {}


@pytest.mark.parametrize("kwargs", [{"queries": 0}, {"neighbours": 0}, {"projected": -1}])
def test_numbers_out_of_range(kwargs: dict[str, int]) -> None:
    with pytest.raises(InputError, match="NeighbourPanels"):
        NeighbourPanels(**kwargs)


@pytest.mark.parametrize("kwargs", [{}, GALLERY, {"protocol": "zero_shot"}, {"on_device": True, **GALLERY}])
def test_images_are_those_that_were_searched(
    kwargs: dict[str, Any], make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    cars, retrieval = make_cars(**kwargs), FaissRetrieval()
    trainer = make_trainer(callbacks=[retrieval])
    trainer.test(make_task(**SQUEEZE, class_names=cars.class_names), cars, verbose=False)
    assert retrieval.searched is not None
    loaded = [[batch["image"].permute(0, 2, 3, 1) for batch in loader] for loader in cars.test_dataloader()]
    queries, gallery = torch.cat(loaded[0]).numpy(), torch.cat(loaded[-1]).numpy()
    cars.features = torch.zeros(60, 2)  # a frozen backbone's output, from now on in place of images
    view = View.of(retrieval.searched, cars, "test")
    for place in (0, 7, len(queries) - 1):
        found = view.found(place, 5)
        np.testing.assert_array_equal(found.image, queries[place])
        np.testing.assert_array_equal(found.images, gallery[retrieval.searched.neighbours[place, :5]])
        assert found.name == NAMES[int(retrieval.searched.queries.labels[place])]
        assert found.right == [name == found.name for name in found.names]


def test_indices_are_places_in_the_split(make_cars: MakeCars) -> None:
    cars = ready(make_cars(**GALLERY))
    labels, (val, train) = cars.labels, cars.val_dataloader()
    queries = embedded([int(labels[cars.splits.val[i]]) for i in (1, 3)], [1, 3])  # type: ignore[index]
    gallery = embedded([int(labels[cars.splits.train[i]]) for i in (30, 4, 2)], [30, 4, 2])
    search = RetrievalResult(queries, gallery, torch.tensor([[2, 0, -1], [1, -1, -1]]), torch.tensor([0.25, 1]), {})
    view = View.of(search, cars, "val")
    first, second = view.found(0, 8), view.found(1, 8)
    np.testing.assert_array_equal(first.image.transpose(2, 0, 1), val.dataset[1]["image"])
    np.testing.assert_array_equal(second.image.transpose(2, 0, 1), val.dataset[3]["image"])
    for image, index in zip([*first.images, *second.images], (2, 30, 4), strict=True):
        np.testing.assert_array_equal(image.transpose(2, 0, 1), train.dataset[index]["image"])
    assert (first.average_precision, second.average_precision) == (0.25, 1)
    assert list(first.names) == [NAMES[label] for label in gallery.labels[[2, 0]].tolist()]


def test_copies_show_their_original(make_cars: MakeCars) -> None:
    cars = ready(make_cars(protocol="seed_leaky", augment="crop_flip_jitter"))
    rows = cars.splits.val
    assert rows is not None
    assert rows[-1] >= 60  # a copy
    last = len(rows) - 1
    search = RetrievalResult(embedded([0], [last]), None, torch.tensor([[0]]), torch.tensor([1.0]), {})
    shown = View.of(search, cars, "val").found(0, 1).image
    original = next(
        batch["image"][i]
        for batch in cars.every_image_dataloader()
        for i in range(8)
        if batch["index"][i] == rows[-1] % 60
    )
    np.testing.assert_array_equal(shown.transpose(2, 0, 1), original)


def test_best_and_worst_are_of_different_classes() -> None:
    nan = float("nan")
    search = searched([0, 0, 1, 1, 2, 2], [0.9, 0.8, 0.7, 0.1, nan, 0.2])
    picked = pick(search, 2)
    assert picked["best"] == [0, 2]
    assert picked["worst"] == [3, 5]
    assert pick(search, 6)["best"] == [0, 2, 5]
    assert sorted(pick(search, 6)["random"]) == [0, 1, 2, 3, 4, 5]
    assert pick(search, 3)["random"] == pick(searched([0] * 6, [0.5] * 6), 3)["random"]
    assert pick(searched([0, 1], [nan, nan]), 2).keys() == {"random"}


def test_thumbnails_shrink_but_never_grow() -> None:
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[:, :, 32:] = 255
    small = thumbnail(pixels, 48)
    assert small.shape == (3, 48, 48)
    assert small[:, 0, [0, -1]].tolist() == [[0, 1]] * 3
    assert thumbnail(pixels[:, :32, :32], 48).shape == (3, 32, 32)


def test_narrow_embeddings_keep_their_angles_and_lengths() -> None:
    draw = torch.Generator().manual_seed(0)
    wide = torch.randn(40, 5, generator=draw) @ torch.randn(5, 30, generator=draw)  # of five directions alone
    kept = narrow(wide, 5)
    assert kept.shape == (40, 5)
    torch.testing.assert_close(kept @ kept.T, wide @ wide.T, atol=1e-3, rtol=1e-4)
    assert narrow(wide, 30) is wide


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_the_last_search_is_shown_whatever_ends_the_run(
    ends: int, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path)
    stop = [EarlyStopping("val/loss", min_delta=1e9, patience=1)] if ends == 1 else []
    panels = [FaissRetrieval(), NeighbourPanels(queries=2, neighbours=3, projected=0)]
    trainer = make_trainer(callbacks=[*panels, *stop], logger=logger, num_sanity_val_steps=1, **ENDS[ends])
    trainer.fit(make_task(**SQUEEZE), make_cars(**GALLERY))
    logger.finalize("success")
    assert images(logger) == {f"val/retrieval/{name}": [trainer.global_step] for name in FIGURES}


def test_no_figure_is_drawn_for_loggers_without_figures(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "neighbour_figure", None)
    trainer = make_trainer(callbacks=[FaissRetrieval(), NeighbourPanels()], logger=CSVLogger(tmp_path))
    task, cars = make_task(**SQUEEZE), make_cars(**GALLERY)
    trainer.fit(task, cars)
    trainer.test(task, cars, verbose=False)

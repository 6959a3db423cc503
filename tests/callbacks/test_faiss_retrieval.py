"""FaissRetrieval: what it logs, when, and that processes and tasks make no difference."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.multiprocessing.spawn import spawn

from carsfg.callbacks.faiss_retrieval import FaissRetrieval, gather
from carsfg.errors import InputError
from carsfg.retrieval.ranking import EmbeddedImages, search
from carsfg.tasks.cnn import CarCNN
from tests.conftest import NAMES, MakeCars, MakeTask, MakeTrainer
from tests.retrieval.test_ranking import embedded

RANKED = {"top_1", "top_5", "top_10", "precision_5", "precision_10", "r_precision", "map_at_r", "map"}
SCORES = ("", *(f"_{name}_{how}" for name in ("precision", "recall", "f1") for how in ("weighted", "macro")))
KEYS = RANKED | {f"knn_{n}{score}" for n in (3, 10) for score in SCORES} | {"left_out", "fit_s", "predict_s"}


def test_each_image_counts_once_and_in_its_order() -> None:
    parts = [embedded([3.0, 1.0], [3, 1], [3, 1]), embedded([0.0, 1.0, 2.0], [0, 1, 2], [0, 1, 2])]
    together = gather(parts)
    assert together.indices.tolist() == [0, 1, 2, 3]
    assert together.labels.tolist() == [0, 1, 2, 3]
    assert together.embeddings.flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("retrieval", ["closed_loo", "closed_train_gallery"])
@pytest.mark.parametrize("kind", ["classifier", "cnn"])
def test_any_task_by_either_protocol(
    kind: str, retrieval: str, make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    task = make_task() if kind == "classifier" else CarCNN(class_names=NAMES, widths=[8, 16], image_size=32)
    cars, trainer = make_cars(retrieval=retrieval), make_trainer(callbacks=[FaissRetrieval()])
    trainer.fit(task, cars)
    figures = {key for key in trainer.callback_metrics if key.startswith("val/retrieval/")}
    assert figures == {f"val/retrieval/{key}" for key in KEYS}
    trainer.test(task, cars, verbose=False)
    tested = {key: float(value) for key, value in trainer.callback_metrics.items() if "retrieval" in key}
    queries, gallery = (outputs(task, loader) for loader in (cars.test_dataloader()[0], cars.test_dataloader()[-1]))
    own = search(queries, None if retrieval == "closed_loo" else gallery, [1, 5, 10], [3, 10], "cosine").metrics
    for key in KEYS - {"fit_s", "predict_s"}:
        assert tested[f"test/retrieval/{key}"] == pytest.approx(own[key], abs=1e-6)


@torch.no_grad()
def outputs(task: Any, loader: Any) -> EmbeddedImages:
    task.eval()
    found = [(task.embed(batch), batch["label"], batch["index"]) for batch in loader]
    return EmbeddedImages(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))


class Count(FaissRetrieval):
    """Notes the epochs in which it logged."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epochs: list[int] = []

    def _log(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if self._parts[0]:
            self.epochs.append(trainer.current_epoch)
        super()._log(trainer, pl_module, stage)


def test_every_few_epochs_and_not_in_the_sanity_check(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer
) -> None:
    count, task = Count(every_n_epochs=2), make_task(backbone="squeezenet1_1", freeze="backbone")
    trainer = make_trainer(max_epochs=5, num_sanity_val_steps=2, callbacks=[count])
    trainer.fit(task, make_cars())
    assert count.epochs == [1, 3]
    trainer.validate(task, make_cars(), verbose=False)
    assert len(count.epochs) == 3  # whatever the epoch


def test_a_checkpoint_can_be_chosen_by_it(
    make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val/retrieval/map_at_r", mode="max", save_top_k=1)
    task = make_task(backbone="squeezenet1_1", freeze="backbone")
    trainer = make_trainer(max_epochs=2, callbacks=[FaissRetrieval(), best], enable_checkpointing=True)
    trainer.fit(task, make_cars(retrieval="closed_train_gallery"))
    assert best.best_model_score is not None
    assert 0 <= float(best.best_model_score) <= 1


def test_a_second_one_is_refused(make_task: MakeTask, make_cars: MakeCars, make_trainer: MakeTrainer) -> None:
    with pytest.raises(InputError, match="two FaissRetrieval callbacks"):
        make_trainer(callbacks=[FaissRetrieval(), FaissRetrieval(metric="euclidean")]).fit(make_task(), make_cars())


@pytest.mark.parametrize("kwargs", [{"k": []}, {"knn": []}, {"k": [0]}, {"knn": [3, -1]}, {"every_n_epochs": 0}])
def test_numbers_out_of_range(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be 1 or more"):
        FaissRetrieval(**kwargs)


def random_embeddings(count: int = 301) -> EmbeddedImages:
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 12, (count,), generator=draw)
    points = torch.randn(12, 16, generator=draw)[labels] + torch.randn(count, 16, generator=draw)
    return EmbeddedImages(points, labels, torch.arange(count))


def of_process(rank: int, folder: str) -> None:
    """Gather a ragged share, padded with images that another process has as well; process 0 keeps the figures."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    whole, mine = random_embeddings(), torch.arange(rank, 301, 2)
    if rank == 1:
        mine = torch.cat([mine, torch.tensor([0, 2, 4])])
    parts = [EmbeddedImages(whole.embeddings[i], whole.labels[i], whole.indices[i]) for i in torch.split(mine, 50)]
    figures = search(gather(parts), None, [1, 5, 10], [3, 10], "cosine").metrics
    if rank == 0:
        torch.save(figures, f"{folder}/figures.pt")


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(tmp_path: Path) -> None:
    spawn(of_process, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    figures = torch.load(tmp_path / "figures.pt", weights_only=True)
    expected = search(random_embeddings(), None, [1, 5, 10], [3, 10], "cosine").metrics
    for key in KEYS - {"fit_s", "predict_s"}:
        assert figures[key] == expected[key]


CONFIG = """
model:
  class_path: carsfg.CarCNN
  init_args: {widths: [8, 16], image_size: 32}
data:
  class_path: carsfg.StanfordCarsDataModule
  init_args: {drawn: {classes: 4, train: 10, test: 5}, batch_size: 8, num_workers: 0}
trainer:
  {max_epochs: 1, accelerator: cpu, precision: 32-true, enable_progress_bar: false, callbacks: carsfg.FaissRetrieval}
"""


@pytest.mark.slow
def test_two_processes_end_to_end(drawn_root: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(CONFIG)
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> None:
        command = [sys.executable, "-m", "carsfg", *words, "--config", "two.yaml", f"--data.root={drawn_root}"]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run("fit")
    (checkpoint,) = tmp_path.glob("lightning_logs/two/version_0/checkpoints/*.ckpt")
    run("test", f"--ckpt_path={checkpoint}")
    run("test", f"--ckpt_path={checkpoint}", "--trainer.devices=2", "--trainer.strategy=ddp")
    one, two = (figures_in(tmp_path / f"lightning_logs/two/version_{version}/metrics.csv") for version in (1, 2))
    timed = {"test/retrieval/fit_s", "test/retrieval/predict_s"}
    assert {f"test/retrieval/{key}" for key in KEYS} <= one.keys()
    assert {key: two[key] for key in one.keys() - timed} == pytest.approx(
        {key: one[key] for key in one.keys() - timed}, abs=1e-5
    )


def figures_in(path: Path) -> dict[str, float]:
    header, row = (line.split(",") for line in path.read_text().splitlines())
    return {key: float(value) for key, value in zip(header, row, strict=True) if key.startswith("test/")}

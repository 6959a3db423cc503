"""The kinds of files that are damaged, and what reads each of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from carsfg.data.box_table import BoxTable
from carsfg.data.crop_cache import CropCache
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.sources.annotations import read_annotations, read_class_names
from carsfg.data.sources.source import ImageSource
from carsfg.data.sources.table import read_table
from carsfg.models.backbones import read_state_dict
from carsfg.report.groups import group
from carsfg.report.page import build_markdown, build_page
from carsfg.report.runs import read_runs
from carsfg.run_record import RETRIEVAL, RunRecord
from carsfg.search.attributes import Attributes
from carsfg.search.contents import Contents
from carsfg.search.gallery import Gallery
from carsfg.search.manifest import MANIFEST
from carsfg.search.roots import Roots
from carsfg.synthetic.dataset import DrawnCars, draw_cars
from carsfg.tasks.checkpoints import load_with_record, save_network
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.inference import load_for_inference
from tests.conftest import NAMES
from tests.properties.fuzz import Mutate, Target
from tests.properties.mutations import mutated, mutated_json, mutated_mat, mutated_text

ANNOTATIONS = "stanford_cars/devkit/cars_train_annos.mat", "stanford_cars/devkit/cars_meta.mat"
ROWS = [
    {"path": f"{i}.png", "label": "ab"[i % 2], "x0": 0, "y0": 1, "x1": 3, "y1": 4, "group": "g", "price": i}
    for i in range(4)
]
RECORD = RunRecord(
    experiment="own",
    task={"class_path": "carsfg.CarClassifier", "backbone": "resnet50", "image_size": 32, "lr": 0.1, "freeze": "none"},
    data={"name": "cars", "classes": 2, "test_images": 4, "protocol": "official", "val": "holdout", "image_size": 32},
    callbacks={RETRIEVAL: {"metric": "cosine", "knn": [1, 5]}},
    trainer={"max_epochs": 2, "precision": "32-true"},
    scored_images=4,
)
METRIC_ROWS = (
    "epoch,step,train/loss,val/top1,val/loss,test/top1,test/loss,test/retrieval/top_1,test/retrieval/knn_5\n"
    "0,1,2.0,0.5,2.1,,,,\n1,2,1.5,0.6,1.9,,,,\n1,2,,,,0.7,1.8,0.5,0.75\n"
)


def _drawn(folder: Path) -> None:
    draw_cars(folder, DrawnCars(classes=2, train=2, test=2), progress=False)


def _read_annotations(folder: Path) -> None:
    read_annotations(folder / ANNOTATIONS[0])
    read_class_names(folder / "stanford_cars")


def _images(folder: Path) -> None:
    for row in ROWS:
        Image.new("RGB", (8, 8), "red").save(folder / str(row["path"]))


def _csv(folder: Path) -> None:
    _images(folder)
    lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def _jsonl(folder: Path) -> None:
    _images(folder)
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def _parquet(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    _images(folder)
    parquet.write_table(pa.Table.from_pylist(ROWS), folder / "table.parquet")


def _gallery(folder: Path, factory: str = "Flat") -> None:
    embeddings = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    paths = [f"{place}.png" for place in range(40)]
    gallery = Gallery.build(embeddings, torch.arange(40) % 4, paths, NAMES, "euclidean", factory, record=RECORD)
    gallery.attributes = Attributes.of({"make": ["a", "b"] * 20})
    gallery.contents, gallery.roots = Contents.unknown(40), Roots.of(folder, 40)
    gallery.calibration = [-1.0, -0.5]
    gallery.save(folder / "gallery")


def _search(folder: Path) -> None:
    for mmap in (False, True):
        gallery = Gallery.load(folder / "gallery", mmap)
        gallery.search(torch.ones(1, gallery.width), 3)
        list(gallery.paths)
        gallery.vector(0)


def _resized(folder: Path) -> None:
    """Write the sizes of all files into the manifest, as whoever damages them on purpose would."""
    manifest = folder / "gallery" / MANIFEST
    facts = json.loads(manifest.read_text())
    for name in facts["files"]:
        facts["files"][name]["bytes"] = (folder / "gallery" / name).stat().st_size
    manifest.write_text(json.dumps(facts))


def _search_resized(folder: Path) -> None:
    _resized(folder)
    _search(folder)


def _checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    task = CarCNN(class_names=NAMES, widths=[4, 8], image_size=32)
    save_network(task, folder / "network.ckpt", replace(RECORD, task=task.describe()))
    torch.save(task.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)


def _load(folder: Path) -> None:
    load_with_record(folder / "network.ckpt")
    load_for_inference(folder / "network.ckpt")


def _run(folder: Path) -> None:
    for name in ("one", "two"):
        run = folder / "logs" / name
        run.mkdir(parents=True)
        replace(RECORD, seed=len(name), task=RECORD.task | {"lr": len(name) / 10}).write(run)
        (run / "metrics.csv").write_text(METRIC_ROWS)
        (run / "confusions.csv").write_text("class,predicted,images\na,a,2\na,b,1\nb,b,1\n")
        (run / "per_class.csv").write_text("class,make,images,correct,accuracy\na,x,3,2,0.67\nb,y,1,1,1.0\n")


def _report(folder: Path) -> None:
    build_markdown(group(read_runs(folder / "logs")))


def _report_page(folder: Path) -> None:
    build_page(group(read_runs(folder / "logs")), {}, folder)


def _cache_source(folder: Path) -> CroppedImages:
    paths = [folder / str(row["path"]) for row in ROWS]
    return CroppedImages(ImageSource(folder, paths, torch.zeros(len(paths), dtype=torch.int64), ["car"]))


def _cache(folder: Path) -> None:
    _images(folder)
    made = CropCache.open(_cache_source(folder), 8, folder / "caches", progress=False).path
    made.rename(folder / "cache")


def _open_cache(folder: Path) -> None:
    cache = CropCache(folder / "cache")
    np.array(cache.images).sum()


def _within(folder: str, mutate: Mutate, *names: str) -> dict[str, Mutate]:
    return {f"{folder}/{name}": mutate for name in names}


ARRAYS = ("labels.npy", "calibration.npy", "paths.npy", "paths_offsets.npy", "checksums.npy", "boxes.npy", "roots.npy",
          "attributes.npy")  # fmt: skip
RUN_FILES = ("metrics.csv", "confusions.csv", "per_class.csv")
TARGETS = {
    "mat": Target(_drawn, _read_annotations, dict.fromkeys(ANNOTATIONS, mutated_mat)),
    "csv": Target(_csv, lambda folder: read_table(folder / "table.csv"), {"table.csv": mutated_text}),
    "boxes": Target(_csv, lambda folder: BoxTable.read(folder / "table.csv"), {"table.csv": mutated_text}),
    "jsonl": Target(_jsonl, lambda folder: read_table(folder / "table.jsonl"), {"table.jsonl": mutated_text}),
    "parquet": Target(_parquet, lambda folder: read_table(folder / "table.parquet"), {"table.parquet": mutated}),
    "manifest": Target(
        _gallery, _search, _within("gallery", mutated_json, MANIFEST, "attributes.json")
    ),
    "arrays": Target(_gallery, _search_resized, _within("gallery", mutated, *ARRAYS)),
    "flat": Target(_gallery, _search_resized, _within("gallery", mutated, "index.faiss")),
    "ivf": Target(lambda folder: _gallery(folder, "IVF4,Flat"), _search_resized, _within("gallery", mutated, "index.faiss")),  # noqa: E501
    "hnsw": Target(lambda folder: _gallery(folder, "HNSW8"), _search_resized, _within("gallery", mutated, "index.faiss")),  # noqa: E501
    "checkpoint": Target(_checkpoint, _load, {"network.ckpt": mutated}),
    "state_dict": Target(_checkpoint, lambda folder: read_state_dict(folder / "old.pt"), {"old.pt": mutated}),
    "record": Target(_run, _report, _within("logs/one", mutated_json, "run_record.json")),
    "metrics": Target(_run, _report, _within("logs/one", mutated_text, *RUN_FILES)),
    "page": Target(_run, _report_page, _within("logs/one", mutated_json, "run_record.json")),
    "cache": Target(
        _cache, _open_cache, _within("cache", mutated, "images.npy", "cells.npy", "digests.txt")
    ),
}  # fmt: skip

"""Indexing a folder, against the slower of its two parts: decoding alone on all cores, and the network alone."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carsfg.data.image_folder import find_photos
from carsfg.data.threads import WORKERS, in_threads
from carsfg.hardware import computes_in_bfloat16
from carsfg.search.build import embed_photos
from carsfg.search.decoding import Decoding
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.scene import draw_scene
from carsfg.tasks.embedder import EmbeddingExtractor
from tests.benchmarks.conftest import seconds

pytestmark = pytest.mark.measure
COUNT = int(os.environ.get("CARSFG_INDEX_IMAGES", "5000"))
DRAWN, SIDE, BATCH, ROUNDS = 50, 224, 64, 3


def photos(folder: Path, longer: int) -> Path:
    """Drawn scenes with sensor noise; many links to a few files, since it is decoding that is measured."""
    for place in range(DRAWN):
        draw = np.random.default_rng(place)
        picture = draw_scene(car_model(place % 196), place, draw)[0].convert("RGB")
        scale = longer / max(picture.size)
        pixels = np.asarray(picture.resize([round(side * scale) for side in picture.size]), np.int16)
        noise = draw.integers(-8, 9, pixels.shape, np.int16)
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{place:05}.jpg", quality=90)
    for place in range(DRAWN, COUNT):
        (folder / f"{place:05}.jpg").hardlink_to(folder / f"{place % DRAWN:05}.jpg")
    return folder


@pytest.mark.parametrize("longer", [700, 2000])
def test_indexing(longer: int, benchmark: Any, tmp_path: Path) -> None:
    """The limit is the larger of both times; Pillow decodes at full size, as an image folder does."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task: Any = EmbeddingExtractor(class_names=["a", "b"], backbone="mobilenet_v2", weights=None, projection=512)
    task = task.eval().to(memory_format=torch.channels_last).to(device)
    half, found = computes_in_bfloat16(device.type), find_photos(photos(tmp_path, longer))
    batch = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8)

    def plain(place: int) -> None:
        np.asarray(Image.open(found.paths[place]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    def decode() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(plain, range(COUNT)))

    def own_decode() -> None:
        for _ in in_threads(Decoding(found, SIDE).decode, COUNT, "", progress=False):
            pass

    @torch.no_grad()
    def network() -> None:
        for _ in range(-(-COUNT // BATCH)):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                task.embed({"image": batch.to(device)}).float().cpu()

    def index() -> None:
        embed_photos(task, found, SIDE, half, BATCH, progress=False)

    works: list[Callable[[], None]] = [decode, own_decode, network, index]
    task.embed({"image": batch.to(device)})  # the first pass sets the device up
    times = [[seconds(partial(work)) for work in works] for _ in range(ROUNDS)]
    ratio = median(ours / max(decoding, alone) for decoding, _, alone, ours in times)
    strict = median(ours / max(own, alone) for _, own, alone, ours in times)
    middle = dict(
        zip(("rival_s", "own_decode_s", "network_s", "ours_s"), map(median, zip(*times, strict=True)), strict=True)
    )
    benchmark.extra_info.update(
        work=f"indexing {COUNT:,} JPEGs of {longer} pixels, MobileNetV2, {device.type}",
        rival="the slower of Pillow's decoding on all cores and the network alone",
        mark="at most 1.15x its time",
        said=f"{ratio:.2f}x its time ({strict:.2f}x with our own decoding as the limit)",
        ratio=ratio,
        strict_ratio=strict,
        **middle,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
    )
    benchmark.pedantic(lambda: None)

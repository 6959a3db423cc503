"""A gallery of drawn cars with a trained network, and servers for it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from carsfg.data.class_names import class_attributes
from carsfg.data.image_folder import to_square
from carsfg.run_record import DRAWN_CARS, RunRecord
from carsfg.search.attributes import Attributes
from carsfg.search.calibration import calibrate
from carsfg.search.engine import VisualSearch
from carsfg.search.gallery import Gallery
from carsfg.search.thumbnails import Thumbnails, encode
from carsfg.synthetic.catalogue import car_model
from carsfg.synthetic.scene import draw_scene
from carsfg.tasks.base import CarsTask
from carsfg.tasks.cnn import CarCNN
from carsfg.tasks.fingerprint import fingerprint
from tests.app.client import Client, free_port

CLASSES, EACH, SIZE = 4, 60, 32
Serve = Callable[..., Client]


def draw(label: int, number: int) -> Image.Image:
    picture, (x1, y1, x2, y2) = draw_scene(car_model(label), number, np.random.default_rng((7, label, number)))
    return picture.convert("RGB").crop((x1 - 1, y1 - 1, x2, y2))


def train(images: torch.Tensor, labels: torch.Tensor) -> CarCNN:
    """Trains for two seconds, until most images are classified correctly."""
    torch.manual_seed(0)
    task = CarCNN(class_names=[car_model(label).name for label in range(CLASSES)], widths=[16, 32, 64], image_size=SIZE)
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    for _ in range(20):
        for some in torch.randperm(len(images)).view(-1, 40):
            optimizer.zero_grad()
            functional.cross_entropy(task(images[some])["logits"], labels[some]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return task.eval()


@pytest.fixture(scope="session")
def search() -> VisualSearch:
    """The gallery contains exactly its thumbnails, so that each thumbnail finds itself."""
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    pictures = Thumbnails.of([encode(draw(label, number)) for label in range(CLASSES) for number in range(EACH)])
    images = torch.stack([to_square(pictures[place], SIZE) for place in range(len(pictures))])
    task = train(images, labels)
    with torch.no_grad():
        embeddings = task(images)["embedding"]
    record = RunRecord(data={"image_size": SIZE, "name": DRAWN_CARS})
    names = task.class_names
    gallery = Gallery.build(embeddings, labels, class_names=names, record=record, fingerprint=fingerprint(task))
    gallery.calibration, gallery.thumbnails = calibrate(gallery, embeddings, itself=True), pictures
    gallery.attributes = Attributes.of(class_attributes(names, labels))
    return VisualSearch(task, gallery)


@pytest.fixture(scope="session")
def gallery_folder(search: VisualSearch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "cars"
    assert isinstance(search.task, CarsTask)
    search.gallery.save(folder, search.task)
    return folder


@pytest.fixture(scope="session")
def pair(search: VisualSearch) -> Image.Image:
    """Two cars side by side: number 5, of the first class, and number 125, of the third."""
    pictures, wide = search.gallery.thumbnails, Image.new("RGB", (600, 200), "white")
    assert pictures is not None
    wide.paste(pictures[5].resize((300, 200)), (0, 0))
    wide.paste(pictures[125].resize((300, 200)), (300, 0))
    return wide


@pytest.fixture(scope="session")
def serve(gallery_folder: Path) -> Iterator[Serve]:
    """Starts servers with the command that users type."""
    running = []

    def start(folder: Path = gallery_folder) -> Client:
        client = Client(free_port())
        words = [sys.executable, "-m", "carsfg", "app", str(folder), f"--port={client.port}", "--device=cpu"]
        running.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
        client.pid = running[-1].pid
        for _ in range(600):
            assert running[-1].poll() is None, "the server has ended"
            try:
                assert client.get("/config")[0] == 200
                return client
            except OSError:
                time.sleep(0.1)
        raise TimeoutError

    yield start
    for one in running:
        one.terminate()
        one.wait(30)


@pytest.fixture(scope="session")
def server(serve: Serve) -> Client:
    return serve()

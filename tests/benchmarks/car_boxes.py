"""What `box: auto` gives on drawn scenes: the box that a network finds, against the true one and the whole photo.

    python -m tests.benchmarks.car_boxes CHECKPOINT DRAWN          # the test scenes; DRAWN contains stanford_cars/
    python -m tests.benchmarks.car_boxes CHECKPOINT DRAWN --far    # each scene at 45 % of its size on a new backdrop

It prints the mean IoU with the true boxes and the share above 0.5, top-1 of the classifier and of the nearest other
scene (leave one out), and the share of the gap between whole photo and true box that the found box closes; then top-1
in the true box made 10 % wider on each side. The constants of `carsfg.search.car_box` were chosen on scenes of another
seed:

    carsfg data draw OTHER --classes 16 --train 1 --test 20 --seed 1
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box
from carsfg.data.stanford_cars_dataset import StanfordCars
from carsfg.hardware import computes_in_bfloat16
from carsfg.search.car_box import BoxFinder, to_pixels, widened
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import load
from tests.benchmarks.known_cars import draw_backdrop

FAR_SCALE, BATCH = 0.45, 32
LOOSE = 0.1  # share of the true box's width and height that a loose one has more on each side


class Scenes(NamedTuple):
    """Whole photos with the boxes of their cars, int64 (N, 4), and their labels, int64 (N,)."""

    photos: list[Image.Image]
    boxes: Tensor
    labels: Tensor

    def far(self) -> "Scenes":
        """Return each scene shrunk, somewhere on a backdrop without a car."""
        rng, photos, boxes = np.random.default_rng(0), [], []
        for photo, box in zip(self.photos, self.boxes, strict=True):
            width, height = (round(FAR_SCALE * side) for side in photo.size)
            backdrop = draw_backdrop(rng).convert("RGB").resize(photo.size)
            left, top = (int(rng.integers(0, most)) for most in (photo.width - width, photo.height - height))
            backdrop.paste(photo.resize((width, height), Image.Resampling.BILINEAR), (left, top))
            photos.append(backdrop)
            boxes.append((box * FAR_SCALE).round().long() + torch.tensor([left, top, left, top]))
        return Scenes(photos, torch.stack(boxes), self.labels)

    def loose_boxes(self) -> list[Box]:
        """Return the true boxes, 10 % wider on each side where the photo goes on."""
        shares = self.boxes / torch.tensor([photo.size * 2 for photo in self.photos])
        wide = [widened(tuple(box), LOOSE) for box in shares.tolist()]
        return [to_pixels(box, photo.size) for box, photo in zip(wide, self.photos, strict=True)]


def read_scenes(root: Path) -> Scenes:
    """Read the test scenes of drawn cars, whole."""
    cars = StanfordCars(root, "test", crop=False)
    return Scenes([cars.load(index) for index in range(len(cars))], cars.boxes, cars.labels)


@torch.no_grad()
def score(task: CarsTask, scenes: Scenes, boxes: Sequence[Box] | None, bfloat16: bool) -> tuple[float, float]:
    """Return top-1 of the classifier and of the nearest other scene."""
    parts = scenes.photos if boxes is None else [p.crop(b) for p, b in zip(scenes.photos, boxes, strict=True)]
    squares = [to_square(part, task.preprocess.image_size) for part in parts]
    embeddings = []
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for start in range(0, len(squares), BATCH):
            embeddings.append(task.embed({"image": torch.stack(squares[start : start + BATCH])}).float())
    embedded = torch.cat(embeddings)
    unit = functional.normalize(embedded, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(1)
    predicted = task.classify(embedded).argmax(1)
    return tuple(float((found == scenes.labels).float().mean()) for found in (predicted, scenes.labels[nearest]))  # type: ignore[return-value]


def overlaps(found: Sequence[Box], true: Tensor) -> Tensor:
    """Return the IoU of each pair of boxes, float (N,)."""
    boxes = torch.tensor(found)
    low, high = torch.maximum(boxes[:, :2], true[:, :2]), torch.minimum(boxes[:, 2:], true[:, 2:])
    inside = (high - low).clamp(min=0).prod(1)
    return inside / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (true[:, 2:] - true[:, :2]).prod(1) - inside)


def measure(task: CarsTask, scenes: Scenes) -> str:
    """Return what is printed, as lines."""
    bfloat16 = computes_in_bfloat16("cpu")
    finder = BoxFinder(task, bfloat16)
    begun = time.process_time()
    found = finder.find(scenes.photos)
    middle = time.process_time()
    own = score(task, scenes, found, bfloat16)
    seconds = middle - begun, time.process_time() - middle
    whole = score(task, scenes, None, bfloat16)
    true = score(task, scenes, [tuple(box) for box in scenes.boxes.tolist()], bfloat16)
    loose = score(task, scenes, scenes.loose_boxes(), bfloat16)
    iou = overlaps(found, scenes.boxes)
    lines = [f"{len(found)} scenes: IoU {iou.mean():.3f}, above .5 {(iou > 0.5).float().mean():.1%}"]
    for place, name in enumerate(("classifier top-1", "leave-one-out top-1")):
        low, high, between = whole[place], true[place], own[place]
        closed = (between - low) / (high - low)
        lines.append(f"{name}: whole {low:.1%}, found {between:.1%}, true {high:.1%}: closes {closed:.0%} of the gap")
    lines.append(f"true box, {LOOSE:.0%} wider on each side: classifier {loose[0]:.1%}, leave-one-out {loose[1]:.1%}")
    each = [1000 * one / len(found) for one in seconds]
    lines.append(f"CPU time per photo: finding the box {each[0]:.0f} ms, embedding the crop {each[1]:.0f} ms")
    return "\n".join(lines)


def main() -> None:
    """Read, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--far", action="store_true")
    options = parser.parse_args()
    scenes = read_scenes(options.root)
    print(measure(load(options.checkpoint), scenes.far() if options.far else scenes))  # noqa: T201


if __name__ == "__main__":
    main()

"""Does the known-car score know? AUROC of held-out classes, of scenes without a car, and of noise.

    python -m tests.benchmarks.known_cars lay data half        # the first 98 classes, as a data set of links
    carsfg fit --config tl_exp3.yaml --data.root=half ...      # a network that never saw the other 98
    python -m tests.benchmarks.known_cars score CHECKPOINT data half

The gallery holds the training images of the first 98 classes; their test images are the known cars, the test images of
the other 98 the unknown ones.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.random import Generator
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from torch import Tensor

from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_folder import find_photos
from carsfg.data.sources.annotations import annotation_file, find_folder, find_images
from carsfg.hardware import computes_in_bfloat16
from carsfg.search.build import embed_photos
from carsfg.search.calibration import MIN_KNOWN_P, calibrate, p_value
from carsfg.search.gallery import Gallery
from carsfg.synthetic.scene import CHOICES, SUPERSAMPLING, apply_light, draw_background
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import load

KNOWN, MADE = 98, 1000  # classes; pictures of each kind that are made here


def lay(root: Path, out: Path) -> None:
    """Lay out the first 98 classes as a data set of their own; its images are links."""
    source = find_folder(root)
    (out / "stanford_cars/devkit").mkdir(parents=True)
    names = scipy.io.loadmat(str(source / "devkit/cars_meta.mat"))["class_names"]
    scipy.io.savemat(str(out / "stanford_cars/devkit/cars_meta.mat"), {"class_names": names[:, :KNOWN]})
    for split in ("train", "test"):
        file = annotation_file(source, split)
        rows = scipy.io.loadmat(str(file))["annotations"]
        rows = rows[:, [int(row["class"].item()) <= KNOWN for row in rows[0]]]
        scipy.io.savemat(str(out / "stanford_cars" / file.relative_to(source)), {"annotations": rows})
        folder = out / f"stanford_cars/cars_{split}"
        folder.mkdir()
        for row in rows[0]:
            name = str(row["fname"].item())
            (folder / name).symlink_to((find_images(source, split) / name).resolve())


def score(task: CarsTask, root: Path, half: Path, crop: bool) -> str:
    """Return AUROC and alarms, as lines."""

    def embed(photos: CroppedImages) -> Tensor:
        return embed_photos(task, photos, task.preprocess.image_size, computes_in_bfloat16("cpu")).embeddings

    train = find_photos(half, crop, split="train")
    own, test = embed(train), embed(find_photos(half, crop, split="test"))
    everything = find_photos(root, crop, split="test")
    others = embed(everything)[everything.labels >= KNOWN]
    gallery = Gallery.build(own, train.labels)
    known, unknown = _nearest(gallery, test), {"cars of 98 other classes": _nearest(gallery, others)}
    for name, draw in (("drawn scenes without a car", draw_backdrop), ("noise", _noise)):
        unknown[name] = _nearest(gallery, embed_made(embed, draw))
    odd = torch.randperm(len(test), generator=torch.Generator().manual_seed(0)) % 2 == 1
    calibrations = {
        "the gallery itself": (calibrate(gallery, own, itself=True), known),
        "half of the known test images": (calibrate(gallery, test[odd], itself=False), known[~odd]),
    }
    lines = []
    for name, scores in unknown.items():
        truth = np.r_[np.ones(len(known)), np.zeros(len(scores))]
        lines.append(
            f"{name}: AUROC {roc_auc_score(truth, np.r_[known, scores]):.4f}, {len(known):,} against {len(scores):,}"
        )
    for name, (points, rest) in calibrations.items():
        alarms = {"known cars": rest, **unknown}
        said = ", ".join(f"{kind} {_share(points, scores):.1%}" for kind, scores in alarms.items())
        lines.append(f"calibrated on {name}, said to be unknown (p < {MIN_KNOWN_P}): {said}")
    return "\n".join(lines)


def embed_made(embed: Callable[[CroppedImages], Tensor], draw: Callable[[Generator], Image.Image]) -> Tensor:
    """Embed 1,000 pictures that are made here."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(MADE):
            draw(rng).save(Path(folder) / f"{number:04}.png")
        return embed(find_photos(folder))


def draw_backdrop(rng: Generator) -> Image.Image:
    """Draw an RGB image without a car, of the same size, background and light as the drawn cars."""
    width, height = int(rng.integers(180, 281)), int(rng.integers(140, 181))
    canvas = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    foot = int(canvas.height * rng.uniform(0.6, 0.95))
    draw_background(ImageDraw.Draw(canvas), rng, canvas.size, foot, rng.random(CHOICES))
    return apply_light(canvas.reduce(SUPERSAMPLING), rng)


def _noise(rng: Generator) -> Image.Image:
    """Noise of some grain: from single pixels to large soft spots."""
    side = int(2 ** rng.uniform(1, 8))
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((224, 224))


def _nearest(gallery: Gallery, embeddings: Tensor) -> Tensor:
    return gallery.search(embeddings, 1)[0][:, 0]


def _share(points: list[float], scores: Tensor) -> float:
    return float(np.mean([p_value(one, points) < MIN_KNOWN_P for one in scores.tolist()]))


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, words in {"lay": ("root", "half"), "score": ("checkpoint", "root", "half")}.items():
        one = verbs.add_parser(verb)
        for word in words:
            one.add_argument(word, type=Path)
        one.add_argument("--no-crop", dest="crop", action="store_false")
    options = parser.parse_args()
    if options.verb == "lay":
        lay(options.root, options.half)
    else:
        print(score(load(options.checkpoint), options.root, options.half, options.crop))  # noqa: T201


if __name__ == "__main__":
    main()

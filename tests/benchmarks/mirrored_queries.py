"""What mirrored queries give: scores of the official test images with and without them, of the same embeddings.

    python -m tests.benchmarks.mirrored_queries CHECKPOINT data --no-crop
    python -m tests.benchmarks.mirrored_queries mobilenet_v2 data --no-crop --weights mobilenet_v2_features.pt

The second form takes a pretrained backbone that was not trained on cars; its features are the embeddings. The gallery
is never mirrored. The difference is of the same queries, with its 95 % bootstrap interval over the queries.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from carsfg.data.image_folder import find_photos
from carsfg.data.sources.source import Part
from carsfg.evaluation.bootstrap import intervals
from carsfg.hardware import computes_in_bfloat16
from carsfg.retrieval.faiss_index import nearest
from carsfg.retrieval.metrics import find_hits, map_at_r, relevant_counts, top_k
from carsfg.retrieval.mirror import mirrored_mean
from carsfg.retrieval.similarity import Metric, prepare, score_chunks
from carsfg.search.build import embed_photos
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import load
from carsfg.tasks.classifier import CarClassifier

PARTS: tuple[Part, Part] = ("train", "test")
TIMM_NORMALISATION = 0.5  # mean and standard deviation of the TensorFlow networks in timm


class Twice:
    """Embeds each image and its mirror image: (B, 2 D)."""

    def __init__(self, task: CarsTask) -> None:
        self.task, self.device = task, task.device

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Return both embeddings, side by side."""
        return torch.cat([self.task.embed({"image": one}) for one in (batch["image"], batch["image"].flip(3))], 1)


def scores(queries: Tensor, labels: Tensor, gallery: Tensor, own: Tensor, metric: Metric, loo: bool) -> Tensor:
    """Return top_1 and map_at_r of each query, float (Q, 2)."""
    itself = torch.arange(len(labels)) if loo else None
    relevant = relevant_counts(labels, own, itself)
    found = torch.cat(
        [
            nearest(chunk, int(relevant.max()))[1]
            for _, chunk in score_chunks(prepare(queries, metric), prepare(gallery, metric), itself, metric)
        ]
    )
    hits = find_hits(found, labels, own)
    return torch.stack([top_k(hits, 1), map_at_r(hits, relevant)], 1)


def measure(task: CarsTask, root: Path, crop: bool, size: int, metric: Metric, kept: Path | None) -> str:
    """Return a table of both protocols, as lines."""
    train, test = (find_photos(root, crop, split=part) for part in PARTS)
    if kept is not None and kept.is_file():
        own, both = torch.load(kept, weights_only=True)
    else:
        bfloat16 = computes_in_bfloat16("cpu")
        own = embed_photos(task, train, size, bfloat16, pictures=False).embeddings
        both = embed_photos(Twice(task), test, size, bfloat16, pictures=False).embeddings  # type: ignore[arg-type]
        if kept is not None:
            torch.save((own, both), kept)
    plain, mirrored = both.chunk(2, 1)
    lines = []
    for protocol, gallery, labels in (
        ("closed_train_gallery", own, train.labels),
        ("closed_loo", plain, test.labels),
    ):
        loo = protocol == "closed_loo"
        before = scores(plain, test.labels, gallery, labels, metric, loo)
        after = scores(mirrored_mean(plain, mirrored, metric), test.labels, gallery, labels, metric, loo)
        (mean, low, high), first, last = intervals(after - before), before.mean(0), after.mean(0)
        for place, name in enumerate(("top_1", "map_at_r")):
            lines.append(
                f"{protocol} {name}: {100 * first[place]:.2f} -> {100 * last[place]:.2f}, difference "
                f"{100 * mean[place]:+.2f} [{100 * low[place]:+.2f}, {100 * high[place]:+.2f}]"
            )
    return "\n".join(lines)


def make_task(network: str, weights: str | None, size: int) -> CarsTask:
    """Return the network of a checkpoint, or a backbone with pretrained weights."""
    if weights is None:
        return load(network)
    half = {"mean": [TIMM_NORMALISATION] * 3, "std": [TIMM_NORMALISATION] * 3} if "timm:tf_" in network else {}
    task = CarClassifier(backbone=network, weights=weights, class_names=["car", "other"], image_size=size, **half)  # type: ignore[arg-type]
    return task.eval().to(memory_format=torch.channels_last)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("root", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("--no-crop", dest="crop", action="store_false")
    parser.add_argument("--keep", type=Path, help="file of the embeddings, to write or to read")
    given = parser.parse_args()
    task = make_task(given.network, given.weights, given.size)
    print(measure(task, given.root, given.crop, given.size, given.metric, given.keep))  # noqa: T201


if __name__ == "__main__":
    main()

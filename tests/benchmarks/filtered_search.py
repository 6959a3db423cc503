"""What filters cost: recall@10 and time of filtered searches in an approximate index, against exact ones.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.filtered_search

200,000 vectors, 128 wide, around 2,000 centres, as images of as many car models; queries are new vectors around the
same centres. `spread` values belong to images of any model at random, such as a colour; `clustered` ones to all images
of some models, such as a make.
"""

import time

import torch
from torch import Tensor

from carsfg.search.build import choose_factory, tune
from carsfg.search.gallery import Gallery

COUNT, WIDTH, CENTRES, QUERIES, K = 200_000, 128, 2_000, 200, 10
NOISE = 1.0  # length of the noise over that of a centre


def draw(count: int, centres: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return vectors around centres, and the centre of each."""
    some = torch.randint(len(centres), (count,), generator=generator)
    noise = torch.randn(count, WIDTH, generator=generator) / WIDTH**0.5
    return torch.nn.functional.normalize(centres[some] + NOISE * noise, dim=1), some


def masks(models: Tensor, generator: torch.Generator) -> dict[str, Tensor | None]:
    """Return which images have a value, by its kind and the share of such images."""
    found: dict[str, Tensor | None] = {"no filter": None}
    for share in (0.5, 0.1, 0.01, 0.001):
        found[f"{share:.1%} spread"] = torch.rand(len(models), generator=generator) < share
        found[f"{share:.1%} clustered"] = models < share * CENTRES
    return found


def timed(gallery: Gallery, queries: Tensor, among: Tensor | None) -> tuple[Tensor, float]:
    """Search one query at a time; return the places (Q, K) and the median of the CPU seconds."""
    found, seconds = [], []
    for query in queries:
        begun = time.process_time()
        found.append(gallery.search(query[None], K, among=among)[1])
        seconds.append(time.process_time() - begun)
    return torch.cat(found), sorted(seconds)[len(seconds) // 2]


def main() -> None:
    """Measure, and print a row per kind of value."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(CENTRES, WIDTH, generator=generator), dim=1)
    vectors, models = draw(COUNT, centres, generator)
    queries, labels = draw(QUERIES, centres, generator)[0], torch.zeros(COUNT, dtype=torch.int64)
    exact = Gallery.build(vectors, labels)
    fast = Gallery.build(vectors, labels, factory=choose_factory(COUNT))
    print(f"{choose_factory(COUNT)}, recall@10 on its own images {tune(fast, vectors):.3f}, nprobe {fast.index.nprobe}")  # noqa: T201
    for name, among in masks(models, generator).items():
        (truth, slow_s), (found, fast_s) = timed(exact, queries, among), timed(fast, queries, among)
        recall = float((found[:, :, None] == truth[:, None]).any(1).float().mean())
        print(f"{name:>16}: recall@10 {recall:.3f}, {1000 * fast_s:.2f} ms of CPU, exact {1000 * slow_s:.2f} ms")  # noqa: T201


if __name__ == "__main__":
    main()

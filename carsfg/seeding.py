"""One seed for a run, and independent seeds derived from it."""

import os

import numpy as np


def global_seed() -> int:
    """Return the seed last given to `lightning.seed_everything`, or 0 where it was never called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(*parts: int) -> int:
    """Mix non-negative integers (seed, epoch, index, ...) into one 63-bit seed; equal parts give equal seeds.

    Source: numpy's SeedSequence, whose hash keeps neighbouring inputs independent.

    Args:
        *parts: the integers; their order counts.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))

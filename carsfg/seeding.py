"""One seed for a run, and independent seeds derived from it."""

import os

import numpy as np

from carsfg.errors import InputError


def global_seed() -> int:
    """Return the seed last given to `lightning.seed_everything`, or 0 if it was never called.

    Raises:
        InputError: the variable PL_GLOBAL_SEED holds something else than a seed.
    """
    text = os.environ.get("PL_GLOBAL_SEED", "0")
    if not text.isdecimal():
        raise InputError(
            f"the seed {text!r} in PL_GLOBAL_SEED is not a whole number of 0 or more: unset it or change it"
        )
    return int(text)


def derive_seed(*parts: int) -> int:
    """Mix non-negative integers (seed, epoch, index, ...) into one 63-bit seed; equal parts give equal seeds.

    Source: numpy's SeedSequence, whose hash keeps neighbouring inputs independent.

    Args:
        *parts: the integers; their order counts.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))

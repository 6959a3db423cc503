import os

import pytest
from lightning import seed_everything

from carsfg.seeding import derive_seed, global_seed


def test_seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")  # restored at the end
    assert global_seed() == 5
    seed_everything(7)
    assert global_seed() == 7
    del os.environ["PL_GLOBAL_SEED"]
    assert global_seed() == 0


def test_derived_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(0) == 7896617691693857887
    assert derive_seed(1, 2, 3) == derive_seed(1, 2, 3)


def test_derived_seeds_differ() -> None:
    seeds = {derive_seed(0, epoch, index) for epoch in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2) != derive_seed(2, 1)


def test_negative_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        derive_seed(-1)

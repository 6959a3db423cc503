"""Errors of the Trainer that are the user's mistakes."""

import pytest
import torch
from lightning import Trainer

from carsfg.commands.trainer_mistakes import memory_mistake, trainer_mistakes
from carsfg.errors import InputError


def test_variables_of_slurm_in_an_ordinary_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB_ID": "1", "NTASKS": "4", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    said = r"cannot be built: You set .*ntasks=4.*; in a shell without srun"
    with pytest.raises(InputError, match=said), trainer_mistakes():
        Trainer(accelerator="cpu", devices=1)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    with trainer_mistakes():
        Trainer(accelerator="cpu", devices=1, logger=False)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
            "the memory of the GPU does not suffice",
        ),
        (MemoryError(), "the memory of this machine does not suffice: use a smaller data.batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "of this machine"),
    ],
)
def test_memory(error: BaseException, said: str) -> None:
    assert said in str(memory_mistake(error))


def test_other_errors_are_not_about_memory() -> None:
    assert memory_mistake(RuntimeError("shapes differ")) is None

"""Errors of Lightning's Trainer that are mistakes of the user."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from carsfg.errors import InputError
from carsfg.hardware import check_processes

SLURM = "in a shell without srun, SLURM_JOB_NAME=interactive makes Lightning ignore the variables of SLURM"


@contextmanager
def trainer_mistakes() -> Iterator[None]:
    """Report what the Trainer says of its arguments in one line, such as an unknown strategy or a missing package.

    Raises:
        InputError: the Trainer cannot be built.
    """
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, ImportError, RuntimeError) as error:
        said = " ".join(str(error).split())
        first, _, _ = said.partition(". ")
        way = f"; {SLURM}" if "SLURM" in said or "srun" in said else ""
        raise InputError(f"the Trainer cannot be built: {first[:300]}{way}") from error


def check_trainer(config: Any) -> None:
    """Refuse values that Lightning takes and fails on later.

    Args:
        config: the `trainer` block.

    Raises:
        InputError: `trainer.devices` is far above the number of cores of a CPU, since Lightning only counts GPUs, or
            a number of batches or epochs is below 1.
    """
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if config[name] is not None and config[name] < 1:
            raise InputError(f"trainer.{name} {config[name]} must be 1 or more")
    on_cpu = config.accelerator == "cpu" or (
        config.accelerator == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available())
    )
    wanted = str(config.devices)
    if on_cpu and wanted.isdigit():
        check_processes("trainer.devices", int(wanted))


def memory_mistake(error: BaseException) -> InputError | None:
    """Return the user's mistake behind an error about memory, of a GPU or of the CPU; None for other errors.

    Args:
        error: any exception.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        where = "of the GPU" if isinstance(error, torch.OutOfMemoryError) else "of this machine"
        return InputError(f"the memory {where} does not suffice: use a smaller data.batch_size or model.image_size")
    return None

"""Errors of Lightning's Trainer that are mistakes of the user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException

from carsfg.callbacks.check_monitors import monitor_mistake
from carsfg.errors import InputError, TrainingError
from carsfg.files import FULL_DISK
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


def training_mistake(
    error: Exception, trainer: Trainer | None, advise: Callable[[], str]
) -> InputError | TrainingError | None:
    """Return what to say of an error during a run: a monitor, the memory or a full disk; None for other errors.

    Args:
        error: any exception.
        trainer: that ran; None if it was not built yet.
        advise: returns how to go on once there is space on the disk.
    """
    mistake = monitor_mistake(trainer, error) if trainer is not None else None
    return mistake or memory_mistake(error) or disk_mistake(error, advise)


def disk_mistake(error: BaseException, advise: Callable[[], str]) -> TrainingError | None:
    """Return the end of a run behind an error of a full disk; None for other errors.

    Args:
        error: any exception.
        advise: returns how to go on once there is space.
    """
    if not isinstance(error, OSError) or error.errno not in FULL_DISK:
        return None
    file = "the files of the run or the output" if error.filename is None else repr(error.filename)
    return TrainingError(f"cannot write {file}: {error.strerror}; free space, then {advise()}")


def memory_mistake(error: BaseException) -> InputError | None:
    """Return the user's mistake behind an error about memory, of a GPU or of the CPU; None for other errors.

    Args:
        error: any exception.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        where = "of the GPU" if isinstance(error, torch.OutOfMemoryError) else "of this machine"
        return InputError(f"the memory {where} does not suffice: use a smaller data.batch_size or model.image_size")
    return None

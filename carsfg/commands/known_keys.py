"""The keys of a training config, to suggest the one that was meant."""

from lightning import Trainer

from carsfg.commands.parsing import argument_names
from carsfg.data.photo_datamodule import PhotoDataModule
from carsfg.data.stanford_cars_datamodule import StanfordCarsDataModule
from carsfg.tasks.base import CarsTask
from carsfg.tasks.checkpoints import TASKS, import_task


def known_keys() -> dict[str, str]:
    """Return the keys of a config, and the arguments of all tasks with the tasks that have them."""
    keys = {"config": "", "ckpt_path": "", "seed_everything": "", "test_after_fit": "", "name": "", "resume": ""}
    for block, cls in (("trainer", Trainer), ("data", StanfordCarsDataModule), ("data", PhotoDataModule)):
        keys |= dict.fromkeys((f"{block}.{name}" for name in argument_names(cls)), "")
    for name in TASKS:
        for argument in (f"model.{one}" for one in argument_names(import_task(name))):
            keys[argument] = f"{keys[argument]}, {name}" if keys.get(argument) else f"it is an argument of {name}"
    return keys | dict.fromkeys((f"model.{one}" for one in argument_names(CarsTask)), "")

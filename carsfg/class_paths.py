"""Class paths: the dotted names by which configs, run records and checkpoints refer to classes."""

from importlib import import_module
from typing import Any

from carsfg.errors import InputError


def class_path(cls: type) -> str:
    """Return the dotted path by which a class can be imported.

    Args:
        cls: any class.
    """
    return f"{cls.__module__}.{cls.__qualname__}"


def import_class(path: str) -> Any:
    """Import a class by its dotted path.

    Args:
        path: such as `carsfg.CarClassifier`.

    Raises:
        InputError: the module or the class does not exist, or the module fails to import.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise InputError(
            f"the class {path!r} cannot be imported ({error}): run the command in the folder of its module, or install "
            "the module"
        ) from error
    if not isinstance(found, type):
        raise InputError(f"{path!r} is not a class")
    return found

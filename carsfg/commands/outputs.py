"""Checks of the files that a verb is to write, before it does any work."""

import os
from pathlib import Path

from carsfg.errors import InputError

MAX_SHOWN_CHARACTERS = 200  # of a path in a message


def check_file(name: str) -> Path:
    """Return the path of a file that is to be written.

    Args:
        name: path of the file.

    Raises:
        InputError: its folder does not exist or is not writable, or the path is a folder.
    """
    path, shown = Path(name), repr(name[:MAX_SHOWN_CHARACTERS])
    try:
        if path.is_dir():
            raise InputError(f"cannot write {shown}: it is a folder")
        if not path.parent.is_dir():
            raise InputError(f"cannot write {shown}: the folder does not exist")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise InputError(f"cannot write {shown}: no permission")
    except OSError as error:  # a name that is too long, a folder without permission
        raise InputError(f"cannot write {shown}: {error.strerror}") from error
    return path


def check_picture(name: str) -> Path:
    """Return the path of a picture that is to be written.

    Args:
        name: path of the file.

    Raises:
        InputError: its suffix is not that of a picture, or it cannot be written.
    """
    from matplotlib.figure import Figure

    path = Path(name)
    if path.suffix[1:].lower() not in Figure().canvas.get_supported_filetypes():
        shown = repr(name[:MAX_SHOWN_CHARACTERS])
        raise InputError(f"unknown kind of picture {shown}: use a name that ends in .png, .jpg, .pdf or .svg")
    return check_file(name)

"""Images that cannot be decoded: the error message that names them, and a source without them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from carsfg.data.crop_cache import cache_key
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.sources.source import ImageSource
from carsfg.data.threads import in_threads
from carsfg.errors import InputError
from carsfg.files import replacing
from carsfg.untrusted import parse_json

NAMED = 5  # files in a message; the others are counted


def find_unreadable(source: ImageSource, progress: bool = True, rows: Sequence[int] | None = None) -> dict[int, str]:
    """Decode images, and return the message of each one that fails, by its position.

    Args:
        source: images; boxes are not looked at.
        progress: show a progress bar.
        rows: positions of the images to decode; None: all.
    """
    images = CroppedImages(source, "photos", crop=False)
    wanted = range(len(images)) if rows is None else rows

    def message(index: int) -> str:
        try:
            images.load(wanted[index])
        except InputError as error:
            return str(error)
        return ""

    messages = in_threads(message, len(wanted), "looking for unreadable images", progress)
    return {row: text for row, text in zip(wanted, messages, strict=True) if text}


def unreadable_error(source: ImageSource, found: Mapping[int, str]) -> InputError:
    """Return an error that counts and names unreadable images, and says how to continue.

    Args:
        source: all images.
        found: one or more messages by position, as `find_unreadable` returns them.
    """
    first, *others = found
    also = f"; also {_names(source, others)}" if others else ""
    return InputError(
        f"{len(found)} of {len(source)} images are unreadable: {found[first]}{also}: repair or remove them, or leave "
        "them out with --data.skip_unreadable=true"
    )


def without_unreadable(source: ImageSource, cache_dir: Path) -> ImageSource:
    """Return the source without unreadable images, which `left_out` names.

    All images are decoded. The result is cached until an image file changes.

    Args:
        source: all images.
        cache_dir: folder of that file; created if needed.

    Raises:
        InputError: a file is missing, the folder cannot be written, or no image is readable.
    """
    file = cache_dir / f"unreadable-{cache_key(CroppedImages(source, 'photos', crop=False), 1)}.json"
    try:
        rows = [int(row) for row in parse_json(file.read_text())]
        rows = list(find_unreadable(source, rows=rows))  # an error of the disk or the network may have passed
    except (OSError, ValueError, TypeError):
        found = find_unreadable(source)
        rows = list(found)
        if len(rows) == len(source):
            raise InputError(f"none of the {len(rows)} images is readable: {found[0]}; check data.root") from None
        _keep(file, rows)
    if not rows:
        return source
    line = f"{len(rows)} unreadable ({_names(source, rows)})"
    kept = source.take(np.setdiff1d(np.arange(len(source)), rows))
    return replace(kept, left_out=f"{source.left_out}; {line}" if source.left_out else f"left out: {line}")


def _keep(file: Path, rows: list[int]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside:
            beside.write_text(json.dumps(rows))
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): set data.cache_dir to a writable folder") from error


def _names(source: ImageSource, rows: list[int]) -> str:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(source.name(row) for row in rows[:NAMED]) + more

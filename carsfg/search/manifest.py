"""What a gallery's folder says beside its index: a JSON file, which is not trusted."""

import hashlib
import json
from pathlib import Path
from typing import Any

from carsfg.errors import InputError

FORMAT = 2
FILE = "gallery.json"
METRICS = ("cosine", "euclidean")
MOST_SIDE = 4096  # of the images that a network takes, in pixels


def read_facts(folder: Path) -> dict[str, Any]:
    """Read a gallery's facts.

    Args:
        folder: the gallery's.

    Raises:
        InputError: there is no gallery, it is damaged, or another version of carsfg wrote it.
    """
    try:
        facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no gallery in {folder}: `carsfg index` and `carsfg predict` write them") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the gallery in {folder}: {FILE} is damaged ({error})") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"the gallery in {folder} is not of format {FORMAT}: build it anew")
    if not _are_sound(facts):
        raise InputError(f"the gallery in {folder} is damaged: {FILE} does not hold together")
    return facts


def checksum(path: Path) -> str:
    """Hash a file, as 32 hexadecimal digits.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _are_sound(facts: dict[str, Any]) -> bool:
    """Whether what a file says is of the right kinds, and fits together."""
    names = ("labels", "paths", "class_names", "known")
    if not all(isinstance(facts.get(name), list) for name in names) or not isinstance(facts.get("stamp"), dict):
        return False
    labels, paths, classes, known = (facts[name] for name in names)
    numbers = all(type(label) is int and 0 <= label < (len(classes) or 2**31) for label in labels)
    words = all(isinstance(word, str) for word in [*paths, *classes])
    inside = not any(".." in word.split("/") for word in paths) if words else False
    counts = len(labels) == facts.get("count") and len(paths) in (0, len(labels))
    scores = all(type(one) in (int, float) and abs(one) < 1e30 for one in known) and known == sorted(known)
    size = facts["stamp"].get("image_size", 1)
    fits = type(size) is int and 0 < size <= MOST_SIDE and facts.get("metric") in METRICS
    return numbers and inside and counts and scores and fits and _pictures_are_sound(facts)


def _pictures_are_sound(facts: dict[str, Any]) -> bool:
    offsets = facts.get("thumbnails")
    if offsets is None:
        return True
    return isinstance(offsets, list) and len(offsets) == facts["count"] + 1 and all(type(one) is int for one in offsets)

"""Parquet files of images and labels, as Hugging Face keeps data sets, written as class folders."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from carsfg.data.fetch.hub import PARQUET
from carsfg.data.image_listing import SUFFIXES
from carsfg.errors import InputError
from carsfg.progress import track

ROWS = 64  # read at a time
Features = Mapping[str, Any]


def find_parquet(folder: Path) -> list[tuple[str, Path]]:
    """Return the Parquet files of the splits below a folder, with `train` or `test`.

    Args:
        folder: where to look, at any depth.
    """
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        if match := PARQUET.search(path.relative_to(folder).as_posix()):
            found.append((match[1], path))
    return found


def write_class_folders(files: Sequence[tuple[str, Path]], target: Path, progress: bool = True) -> int:
    """Write each image to `target/SPLIT/CLASS/NUMBER.jpg`; bytes stay as they are, `/` in class names becomes `-`.

    Args:
        files: result of `find_parquet`.
        target: folder that receives the class folders.
        progress: show a progress bar.

    Returns:
        Number of images.

    Raises:
        InputError: a file is damaged, or has no images, labels or class names.
        OSError: the folder cannot be written.
    """
    counts: dict[str, int] = {}
    for part, file in track(files, "writing images", progress):
        for name, suffix, data in _rows(file):
            counts[part] = counts.get(part, 0) + 1
            folder = target / part / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{counts[part]:05}{suffix}").write_bytes(data)
    return sum(counts.values())


def _rows(file: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield class name, file suffix and bytes of each image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            features = _features(table.schema_arrow.metadata, file)
            image, label, names = _columns(features, file)
            for batch in table.iter_batches(ROWS, columns=[image, label]):
                for row in batch.to_pylist():
                    yield _row(row[image], row[label], names, file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} is damaged ({_first_line(error)}): run the command again to download it") from error


def _row(image: Any, label: Any, names: Sequence[str] | None, file: Path) -> tuple[str, str, bytes]:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise InputError(f"{file} holds paths instead of images: use another data set")
    if names is not None and not (isinstance(label, int) and 0 <= label < len(names)):
        raise InputError(f"{file} has the label {label!r}, but names {len(names)} classes: use another data set")
    name = str(label if names is None else names[label]).replace("/", "-").replace("\\", "-").strip()
    if name in ("", ".", ".."):
        raise InputError(f"{file} has the class name {name!r}: use another data set")
    suffix = Path(str((isinstance(image, dict) and image.get("path")) or "")).suffix.lower()
    return name, suffix if suffix in SUFFIXES else ".jpg", data


def _columns(features: Features, file: Path) -> tuple[str, str, Sequence[str] | None]:
    """Return the names of the columns of images and labels, and the class names; None if labels are names."""
    images = [name for name, one in features.items() if _kind(one) == "Image"]
    labels = [name for name, one in features.items() if _kind(one) == "ClassLabel"]
    texts = [name for name in ("label", "labels", "class") if features.get(name, {}).get("dtype") == "string"]
    if not images or not (labels or texts):
        raise InputError(
            f"{file} has no column of {'labels with class names' if images else 'images'}: use another data set"
        )
    return images[0], (labels or texts)[0], features[labels[0]]["names"] if labels else None


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _features(metadata: Mapping[bytes, bytes] | None, file: Path) -> Features:
    """Return the description of the columns, from the file or else from the data set's card beside it."""
    try:
        stored = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return dict(stored)
    except (KeyError, ValueError, TypeError):
        card = next((up / "README.md" for up in file.parents[:3] if (up / "README.md").is_file()), None)
        return _card_features(card) if card else {}


def _card_features(card: Path) -> Features:
    """Return the columns that the YAML block of a data set's card describes."""
    import yaml

    block = card.read_text(encoding="utf-8", errors="replace").split("---")
    try:
        found = yaml.safe_load(block[1])["dataset_info"]
        columns = (found[0] if isinstance(found, list) else found)["features"]
        return {one["name"]: _card_feature(one["dtype"]) for one in columns}
    except (IndexError, KeyError, TypeError, yaml.YAMLError):
        return {}


def _card_feature(kind: Any) -> Mapping[str, Any]:
    if kind == "image":
        return {"_type": "Image"}
    if isinstance(kind, dict) and "class_label" in kind:
        names = kind["class_label"]["names"]
        ordered = [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else names
        return {"_type": "ClassLabel", "names": ordered}
    return {"dtype": kind}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")

"""`carsfg predict`: classify photos without labels, and write the predictions to a CSV file."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.options import check_counts, parse
from carsfg.commands.outputs import check_file
from carsfg.commands.photo_list import list_photos
from carsfg.commands.predict_options import PredictOptions
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.run_record import RunRecord
    from carsfg.search.gallery import Gallery
    from carsfg.search.predictions import Columns
    from carsfg.tasks.base import CarsTask

DEFAULT_NEIGHBOURS = 10  # that vote, for a gallery of a run without retrieval
LISTED = 5  # classes in the table that is printed


def main(args: Sequence[str]) -> int:
    """Run `carsfg predict`: on photos, or in the form of Lightning, by the first word.

    Args:
        args: the words after `carsfg predict`; Lightning's form begins with an option such as `--config`.

    Returns:
        0, also if some photos could not be read: they are listed on stderr.

    Raises:
        InputError: the arguments are wrong, or checkpoint, photos, gallery or output cannot be used.
    """
    first = args[0].partition("=")[0] if args else ""
    own = {f"--{one.name}" for one in fields(PredictOptions)} | {"--help"}
    if first.startswith("--") and first not in own:
        from carsfg.commands.train import main as lightning_main

        return lightning_main(["predict", *args])
    options = parse("predict", PredictOptions, args)
    check_counts(options, "batch_size")
    if check_file(options.output).exists() and not options.overwrite:
        raise InputError(f"{options.output} exists: add --overwrite to replace it, or name another file by --output")
    return _predict(options)


def _predict(options: PredictOptions) -> int:
    """Find, embed, classify, search, write and print."""
    from carsfg.commands.index_options import Settings
    from carsfg.commands.photo_embedder import PhotoEmbedder
    from carsfg.commands.run_data import say_settings
    from carsfg.hardware import find_device
    from carsfg.search.predictions import box_columns, gallery_columns, head_columns, write_table
    from carsfg.tasks.checkpoints import load_with_record

    folder, photos, complaints = _find(options.photos)
    device = find_device(options.device)
    task, record = load_with_record(options.checkpoint, device, options.weights)
    gallery = _gallery(options, task)
    as_index = options.as_index(photos.folder)
    # photos are compared with a gallery as its own images were embedded
    settings = record if gallery is None else gallery.record
    use = Settings.choose(as_index, settings, task, device)
    say_settings(settings, {"image_size": use.image_size}, precision=use.precision)
    embedder = PhotoEmbedder.choose(as_index, photos, folder, task, record, use)
    if gallery is not None:
        _say_gallery(gallery, embedder.box)
    embedded = embedder.embed(photos)
    found = [photos.paths[place] for place in embedded.places]
    columns: Columns = {"path": [(path if folder is None else path.relative_to(folder)).as_posix() for path in found]}
    if task.has_head:
        columns |= head_columns(task, embedded.embeddings, use.bfloat16, options.batch_size)
    if gallery is not None:
        columns |= gallery_columns(gallery, embedded.embeddings, _voters(gallery.record))
    if embedder.finder is not None or embedder.table is not None:
        columns |= box_columns(embedded.boxes)
    write_table(Path(options.output), columns)
    _report(options.output, columns, [*complaints, *embedded.complaints])
    return 0


def _gallery(options: PredictOptions, task: "CarsTask") -> "Gallery | None":
    """Read the gallery, before any work.

    Raises:
        InputError: it cannot be read, or another network made it; or there is neither a head nor a gallery.
    """
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.fingerprint import fingerprint

    if options.gallery is None:
        if not task.has_head:
            raise InputError(
                f"the network in {options.checkpoint} has no classification head: add --gallery to classify "
                "by a vote of the nearest images"
            )
        return None
    gallery = Gallery.load(options.gallery)
    gallery.check_network(fingerprint(task))
    return gallery


def _find(words: Sequence[str]) -> "tuple[Path | None, CroppedImages, list[str]]":
    """Return the folder if one folder is all that was named, the photos, and what cannot be read.

    Raises:
        InputError: no photo is given, or none can be read.
    """
    import torch

    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.image_folder import is_folder
    from carsfg.data.sources.source import ImageSource

    if not any(word == "-" or os.path.exists(word) for word in words):  # noqa: PTH110 - for overlong names, too
        raise InputError(f"the file or folder {words[0]!r} does not exist")
    found = list(list_photos(words))
    paths = [Path(one) for one in found if not isinstance(one, InputError)]
    complaints = [str(one) for one in found if isinstance(one, InputError)]
    if not paths:
        raise InputError(complaints[0] if complaints else "no photo is given")
    folder = Path(words[0]) if len(words) == 1 and is_folder(words[0]) else None
    labels = torch.zeros(len(paths), dtype=torch.int64)  # unknown
    return folder, CroppedImages(ImageSource(folder or Path(words[0]), paths, labels, [""])), complaints


def _voters(record: "RunRecord") -> int:
    """Return the number of neighbours that vote: the largest of the run's, as in the table of `carsfg test`."""
    from carsfg.run_record import RETRIEVAL

    return int(max(record.callbacks.get(RETRIEVAL, {}).get("knn") or [DEFAULT_NEIGHBOURS]))


def _say_gallery(gallery: "Gallery", box: str) -> None:
    """Print how the gallery is used, and whether its images were cut otherwise, on stderr."""
    from carsfg.search.box_choice import MODES

    made = gallery.record.data.get("box")
    other = f"; its images: box {made}, these photos: box {box}" if made in MODES and made != box else ""
    print(  # noqa: T201
        f"gallery of {len(gallery):,} images: vote of the {_voters(gallery.record)} nearest, {gallery.metric}{other}",
        file=sys.stderr,
    )


def _report(output: str, columns: "Columns", complaints: list[str]) -> None:
    """Print what was left out, the most frequent classes, and what was written."""
    from rich.console import Console
    from rich.table import Table

    from carsfg.search.calibration import MIN_KNOWN_P
    from carsfg.search.display import printable

    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)  # noqa: T201
    console = Console(markup=False, highlight=False, emoji=False)
    said = columns.get("top1") or columns["vote"]
    counts, count = Counter(said), len(said)
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, images in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:LISTED]:
        table.add_row(f"{images:>7,}", f"{100 * images / count:.0f} %", printable(name))
    print(f"most frequent of {len(counts):,} predicted classes:")  # noqa: T201
    console.print(table)
    if "known_p" in columns:
        unlike = sum(p < MIN_KNOWN_P for p in columns["known_p"])
        print(f"{unlike:,} images are unlike those in the gallery (known_p below {MIN_KNOWN_P})")  # noqa: T201
    left = f", {len(complaints):,} could not be read" if complaints else ""
    print(f"{output}: {count:,} images{left}")  # noqa: T201
